#!/usr/bin/env python3
"""Draws docs/picture.svg: what CoSS compares. It needs the standard library only and always gives the same bytes.

    scripts/draw_picture.py          writes docs/picture.svg
    scripts/draw_picture.py --check  fails if docs/picture.svg is not what this script draws
"""
import pathlib
import sys
from html import escape

FILE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "picture.svg"

WIDTH, HEIGHT = 880, 478
INK, SOFT, LINE = "#1f2933", "#52606d", "#7b8794"
ROW, COLUMN = "#c2410c", "#1d4ed8"          # the two comparisons
ROW_FILL, COLUMN_FILL = "#fed7aa", "#bfdbfe"
TEACHER, STUDENT = "#e4e7eb", "#e3f4e8"

CELL, ROWS, COLUMNS = 22, 6, 8
CHOSEN_ROW, CHOSEN_COLUMN = 1, 5
TOP = 188                                    # of both matrices
TEACHER_LEFT, STUDENT_LEFT = 190, 514


def text(x, y, words, size=14, color=INK, anchor="middle", weight="normal"):
    return (f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def rectangle(x, y, width, height, fill, stroke="none", thick=1, radius=0):
    return (f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="{thick:g}"/>')


def path(points, color, thick=2, begin=False, end=True, marker="ink"):
    steps = " L".join(f"{x:g} {y:g}" for x, y in points)
    heads = f' marker-start="url(#{marker})"' if begin else ""
    heads += f' marker-end="url(#{marker})"' if end else ""
    return f'<path d="M{steps}" fill="none" stroke="{color}" stroke-width="{thick:g}" stroke-linejoin="round"{heads}/>'


def arrow_head(name, color):
    return (f'<marker id="{name}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="5" markerHeight="5" '
            f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{color}"/></marker>')


def value(row, column):
    """A feature in [0, 1): any fixed numbers will do, as long as images of one group look alike."""
    group = row // 3
    return ((group * 5 + column * 3 + column * column * (group + 2)) % 11 + (row % 3) * 0.8) / 13


def shade(amount):
    """From almost white to a middle gray."""
    level = round(244 - 92 * amount)
    return f"#{level:02x}{level + 3:02x}{level + 8:02x}"


def matrix(left, nudge):
    parts = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            amount = min(1.0, max(0.0, value(row, column) + nudge * ((row * 7 + column * 5) % 5 - 2)))
            parts.append(rectangle(left + column * CELL, TOP + row * CELL, CELL, CELL, shade(amount), "#ffffff"))
    # The chosen row and column, colored over the shades.
    across, down = COLUMNS * CELL, ROWS * CELL
    row_top, column_left = TOP + CHOSEN_ROW * CELL, left + CHOSEN_COLUMN * CELL
    parts.append(f'<g opacity="0.55">{rectangle(left, row_top, across, CELL, ROW_FILL)}'
                 f'{rectangle(column_left, TOP, CELL, down, COLUMN_FILL)}</g>')
    parts.append(rectangle(left, TOP, across, down, "none", LINE))
    parts.append(rectangle(column_left, TOP, CELL, down, "none", COLUMN, 2.5))
    parts.append(rectangle(left, row_top, across, CELL, "none", ROW, 2.5))
    return parts


def tile(x, y, group, variant):
    """An image of the batch: a drawn shape, alike within its group of neighbors."""
    sky = ("#dbeafe", "#e0f2fe", "#cffafe", "#fef3c7", "#fde68a", "#ffedd5")[group * 3 + variant]
    parts = [rectangle(x, y, 44, 44, sky, LINE, 1, 4)]
    if group == 0:
        size = (13, 11, 15)[variant]
        parts.append(f'<circle cx="{x + 20 + 2 * variant:g}" cy="{y + 24 - variant:g}" r="{size}" fill="#0e7490"/>')
    else:
        lift, lean = (0, 3, 1)[variant], (0, 2, -3)[variant]
        foot = y + 36 - lift
        parts.append(f'<path d="M{x + 8:g} {foot:g} L{x + 22 + lean:g} {y + 9:g} L{x + 36:g} {foot:g} z" '
                     'fill="#b45309"/>')
    return parts


def network(points, fill, middle, y, name, note):
    corners = " ".join(f"{x:g},{y_:g}" for x, y_ in points)
    return [f'<polygon points="{corners}" fill="{fill}" stroke="{SOFT}" stroke-width="1.5" stroke-linejoin="round"/>',
            text(middle, y, name, 16, INK, weight="bold"), text(middle, y + 20, note, 13, SOFT)]


def picture():
    middle = WIDTH / 2
    row_y = TOP + (CHOSEN_ROW + 0.5) * CELL
    bottom = TOP + ROWS * CELL
    center = TOP + ROWS * CELL / 2
    teacher_end, student_end = TEACHER_LEFT + COLUMNS * CELL, STUDENT_LEFT + COLUMNS * CELL
    teacher_column = TEACHER_LEFT + (CHOSEN_COLUMN + 0.5) * CELL
    student_column = STUDENT_LEFT + (CHOSEN_COLUMN + 0.5) * CELL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title desc" font-family="Helvetica, Arial, \'Liberation Sans\', sans-serif">',
        '<title id="title">What CoSS compares</title>',
        '<desc id="desc">A batch of images goes through a large frozen teacher and a small student. Each gives a matrix '
        'of features, one row for each image and one column for each feature dimension. The loss compares the two '
        'matrices row by row and column by column.</desc>',
        f'<defs>{arrow_head("ink", SOFT)}{arrow_head("row", ROW)}{arrow_head("column", COLUMN)}</defs>',
        rectangle(1, 1, WIDTH - 2, HEIGHT - 2, "#ffffff", "#cbd2d9", 1.5, 14),
    ]

    # The batch, and the way to both networks.
    first, tiles_y = middle - 3 * 54 + 1, 56
    parts.append(text(middle, 38, "A batch: images and their nearest neighbors, no labels", 15, INK, weight="bold"))
    for index in range(6):
        parts += tile(first + index * 54 + (4 if index >= 3 else -4), tiles_y, index // 3, index % 3)
    tile_middle = tiles_y + 22
    parts.append(path([(first - 16, tile_middle), (87, tile_middle), (87, center - 90)], SOFT))
    parts.append(path([(first + 6 * 54 + 6, tile_middle), (790, tile_middle), (790, center - 58)], SOFT))

    # The networks; the student is the smaller one.
    parts += network([(24, center - 86), (150, center - 60), (150, center + 60), (24, center + 86)], TEACHER,
                     87, center - 4, "Teacher", "large, frozen")
    parts += network([(732, center - 40), (848, center - 54), (848, center + 54), (732, center + 40)], STUDENT,
                     790, center - 4, "Student", "small, learns")
    parts.append(path([(152, center), (TEACHER_LEFT - 4, center)], SOFT))
    parts.append(path([(730, center), (student_end + 4, center)], SOFT))

    # The two matrices.
    parts += matrix(TEACHER_LEFT, 0)
    parts += matrix(STUDENT_LEFT, 0.05)
    for left, whose in ((TEACHER_LEFT, "the teacher's features"), (STUDENT_LEFT, "the student's features")):
        parts.append(text(left + COLUMNS * CELL / 2, TOP - 32, whose, 14, INK, weight="bold"))
        parts.append(text(left + COLUMNS * CELL / 2, TOP - 12, "images × dimensions", 13, SOFT))

    # Rows are compared across, columns below.
    parts.append(path([(teacher_end + 5, row_y), (STUDENT_LEFT - 5, row_y)], ROW, 2.5, True, True, "row"))
    parts.append(text(middle, row_y - 12, "cosine similarity", 14, ROW, weight="bold"))
    parts.append(text(middle, row_y + 22, "of each image", 14, ROW))
    turn = bottom + 40
    parts.append(path([(teacher_column, bottom + 6), (teacher_column, turn), (student_column, turn),
                       (student_column, bottom + 6)], COLUMN, 2.5, True, True, "column"))
    between = (teacher_column + student_column) / 2
    parts.append(text(between, turn - 11, "space similarity", 14, COLUMN, weight="bold"))
    parts.append(text(between, turn + 22, "of each feature dimension, over the batch", 14, COLUMN))

    # What it means.
    foot = HEIGHT - 48
    parts.append(rectangle(24, foot - 18, 12, 12, ROW_FILL, ROW, 2))
    parts.append(text(44, foot - 7, "Row: do the features of this image have the same direction in both networks?",
                      anchor="start"))
    parts.append(rectangle(24, foot + 8, 12, 12, COLUMN_FILL, COLUMN, 2))
    parts.append(text(44, foot + 19, "Column: do the values of this dimension have the same proportions over the batch?",
                      anchor="start"))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main():
    drawn = picture()
    if sys.argv[1:] == ["--check"]:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == drawn
        print("picture: fine" if same else "picture: docs/picture.svg is not what scripts/draw_picture.py draws")
        return 0 if same else 1
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    FILE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
