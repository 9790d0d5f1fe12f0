// A line is split into fields; one of them is the path and one the label.
#include "data/image_list.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "data/image_files.h"
#include "engine/text.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

constexpr int32_t kMostClasses = 1 << 20;
constexpr const char* kPathColumns[] = {"path", "filepath", "file",       "filename", "file_name",
                                        "img",  "image",    "image_path", "name",     "image_name"};
constexpr const char* kLabelColumns[] = {"label", "class", "target", "category", "label_id", "class_id", "class_name"};

// The text of a label in the list.
struct Row {
  std::string path;
  std::optional<std::string> label;
  std::string where;  // "list.txt:3"
};

// The index of the column that has one of these names; -1 for none.
template <size_t N>
int find_column(const std::vector<std::string>& header, const char* const (&names)[N]) {
  for (const char* name : names)
    for (size_t i = 0; i < header.size(); ++i)
      if (lower(header[i]) == name) return int(i);
  return -1;
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end != text.data() + text.size()) return std::nullopt;
  if (error != std::errc()) return int64_t(kMostClasses);
  return value;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

std::vector<std::string> fields_of(const std::string& line, char separator, const std::string& where) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[i++];
    } else if (line[i] == '"' && (quoted || trimmed(fields.back()).empty())) {
      quoted = !quoted;
    } else if (line[i] == separator && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  COSS_CHECK(!quoted, where + ": a quote is not closed");
  for (std::string& field : fields) field = trimmed(field);
  return fields;
}

// The lines that are not empty and no comments, with their numbers.
std::vector<std::pair<std::string, std::string>> lines_of(const std::string& list) {
  std::ifstream stream(list, std::ios::binary);
  COSS_CHECK(stream, list + " cannot be opened");
  std::vector<std::pair<std::string, std::string>> lines;
  std::string line;
  for (int64_t number = 1; std::getline(stream, line); ++number) {
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    const size_t last = line.find_last_not_of(" \t\r");
    if (last == std::string::npos || line.starts_with("#")) continue;
    line.resize(last + 1);
    const std::string where = list + ":" + std::to_string(number);
    COSS_CHECK(line.find('\0') == std::string::npos, where + " is not text: a list has one \"path[ label]\" per line");
    lines.emplace_back(line, where);
  }
  COSS_CHECK(!lines.empty(), list + " is empty: a list has one \"path[ label]\" per line");
  return lines;
}

// The separator of a table; 0 for plain lines.
char separator_of(const std::string& list, const std::string& first_line) {
  const std::string extension = lower(fs::path(list).extension().string());
  if (extension == ".csv") return ',';
  if (extension == ".tsv") return '\t';
  const size_t comma = first_line.find(',');
  if (comma == std::string::npos) return 0;
  const std::string head = lower(trimmed(first_line.substr(0, comma)));
  const bool is_header = std::find(std::begin(kPathColumns), std::end(kPathColumns), head) != std::end(kPathColumns);
  return is_header || is_image_name(head) ? ',' : 0;
}

// The label of a plain line is the last word if that is a number and a path precedes it.
Row plain_row(const std::string& line, const std::string& where) {
  Row row{line, std::nullopt, where};
  const size_t space = line.find_last_of(" \t");
  if (space != std::string::npos && whole_number(line.substr(space + 1))) {
    row.label = line.substr(space + 1);
    row.path = line.substr(0, line.find_last_not_of(" \t", space) + 1);
  }
  if (row.path.size() >= 2 && row.path.front() == '"' && row.path.back() == '"')
    row.path = row.path.substr(1, row.path.size() - 2);
  return row;
}

std::vector<Row> table_rows(const std::vector<std::pair<std::string, std::string>>& lines, char separator) {
  std::vector<Row> rows;
  int path_column = 0, label_column = 1;
  for (const auto& [line, where] : lines) {
    const std::vector<std::string> fields = fields_of(line, separator, where);
    if (rows.empty() && path_column == 0 && &line == &lines.front().first) {
      const int path = find_column(fields, kPathColumns);
      if (path >= 0) {
        path_column = path;
        label_column = find_column(fields, kLabelColumns);
        continue;
      }
    }
    COSS_CHECK(path_column < int(fields.size()) && !fields[size_t(path_column)].empty(),
               where + ": the column of the path is empty");
    Row row{fields[size_t(path_column)], std::nullopt, where};
    const bool labeled = label_column >= 0 && label_column < int(fields.size());
    if (labeled && !fields[size_t(label_column)].empty()) row.label = fields[size_t(label_column)];
    rows.push_back(std::move(row));
  }
  COSS_CHECK(!rows.empty(), lines.front().second + ": nothing follows the header");
  return rows;
}

}  // namespace

bool is_list_name(const std::string& path) {
  const std::string extension = lower(fs::path(path).extension().string());
  return extension == ".txt" || extension == ".lst" || extension == ".csv" || extension == ".tsv";
}

std::unique_ptr<Dataset> open_image_list(const std::string& list, const std::vector<std::string>* class_names) {
  const auto lines = lines_of(list);
  const char separator = separator_of(list, lines.front().first);
  std::vector<Row> rows;
  if (separator) {
    rows = table_rows(lines, separator);
  } else {
    for (const auto& [line, where] : lines) rows.push_back(plain_row(line, where));
  }

  bool numbers = true;
  std::set<std::string> found;
  for (const Row& row : rows) {
    COSS_CHECK(row.label.has_value() == rows.front().label.has_value(),
               row.where + ": give every line a label or none; the first line and this one differ");
    if (!row.label) continue;
    numbers = numbers && whole_number(*row.label);
    found.insert(*row.label);
  }
  std::vector<std::string> names;
  // Numbers are labels, unless the classes have these numbers as names.
  const auto is_class = [&](const std::string& label) {
    return std::find(class_names->begin(), class_names->end(), label) != class_names->end();
  };
  if (class_names && (!numbers || std::all_of(found.begin(), found.end(), is_class))) {
    names = *class_names;
  } else if (!numbers) {
    names.assign(found.begin(), found.end());
  }
  const fs::path folder = fs::path(list).parent_path();
  std::vector<ImageFile> files;
  int32_t classes = int32_t(names.size());
  for (const Row& row : rows) {
    ImageFile file{(folder / row.path).string(), -1};  // an absolute path stays as it is
    if (row.label && !names.empty()) {
      const auto known = std::find(names.begin(), names.end(), *row.label);
      COSS_CHECK(known != names.end(),
                 row.where + ": '" + *row.label + "' is a class that the training images do not have");
      file.label = int32_t(known - names.begin());
    } else if (row.label) {
      const int64_t label = *whole_number(*row.label);
      COSS_CHECK(label >= 0 && label < kMostClasses,
                 row.where + ": the label " + *row.label + " is not in [0, " + std::to_string(kMostClasses) + ")");
      file.label = int32_t(label);
      classes = std::max(classes, file.label + 1);
    }
    files.push_back(std::move(file));
  }
  return make_image_files(std::move(files), classes, std::move(names), "");
}

}  // namespace coss
