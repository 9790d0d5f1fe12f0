// Lists of image files: text, CSV and tab-separated tables.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace coss {

// Whether the name is that of a list: .txt, .lst, .csv or .tsv.
bool is_list_name(const std::string& path);

// Images with paths relative to the list.
//   .txt, .lst  "path[ label]" per line: the label is the last word when that is a whole number. A list whose first
//               line is "name.jpg,…" or a header is read as CSV.
//   .csv, .tsv  a path and maybe a label per line. A header may name the columns: path, file, filename, image … and
//               label, class, target … Labels are whole numbers, or names, which are numbered in alphabetical order.
// A byte order mark, CRLF, empty lines, lines that begin with # and quotes around a field are understood. With
// `class_names` the label of an image is the index of its class in them; any other class is an Error. Errors name the
// line.
std::unique_ptr<Dataset> open_image_list(const std::string& list,
                                         const std::vector<std::string>* class_names = nullptr);

}  // namespace coss
