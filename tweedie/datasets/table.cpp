// Tables: comma-separated values (RFC 4180) with numeric and categorical columns.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "tweedie/base/fields.h"
#include "tweedie/base/files.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tensor_dataset.h"

namespace tweedie {
namespace {

constexpr size_t kMaxCategories = 1000, kMaxColumns = 100000;
constexpr double kMaxValues = 1 << 30;

struct TableOptions {
  std::string path, label;
  std::vector<std::string> columns = {}, categorical = {};
  std::string separator = ",";
  Json coding = Json::array();
  double holdout = 0.1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "text file, names of the columns in its first line");
    visit("label", label, "the column that is the class, and no part of an example");
    visit("columns", columns, "those that are used; all, if it is empty");
    visit("categorical", categorical, "columns of numbers that mean categories");
    visit("separator", separator, "between two values: one character, or tab");
    visit("coding", coding, "what coordinates mean, of a model that is to see this table");
    visit("holdout", holdout, "fraction kept for the test split");
  }
};

using Row = std::vector<std::string>;

/// Reads records; quoted values may hold separators, line ends and doubled quotes.
class CsvReader {
 public:
  CsvReader(const std::string& text, char separator, const std::string& where)
      : text_(text), separator_(separator), where_(where) {
    if (text.starts_with("\xef\xbb\xbf")) at_ = 3;  // the byte order mark of spreadsheets
  }

  /// False at the end.  Empty lines are passed over.
  bool next(Row& row) {
    row.clear();
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) step();
    if (at_ == text_.size()) return false;
    first_line_ = line_;
    do {
      row.push_back(value());
      check(row.size() <= kMaxColumns, where(), "more than ", kMaxColumns, " columns");
    } while (take(separator_));
    check(at_ == text_.size() || text_[at_] == '\n' || text_[at_] == '\r', where(),
          "text after a closing quote");
    return true;
  }
  std::string where() const { return where_ + ", line " + std::to_string(first_line_) + ": "; }

 private:
  void step() { line_ += text_[at_++] == '\n'; }
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string value() {
    std::string out;
    if (!take('"')) {
      while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n' &&
             text_[at_] != '\r')
        out += text_[at_++];
      return out;
    }
    for (;;) {
      check(at_ < text_.size(), where(), "a quoted value does not end");
      if (take('"')) {
        if (!take('"')) return out;
        out += '"';
      } else {
        out += text_[at_];
        step();
      }
    }
  }

  const std::string& text_;
  char separator_;
  std::string where_;
  size_t at_ = 0;
  int64_t line_ = 1, first_line_ = 1;
};

bool parse_number(std::string_view text, double* value) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(*value);
}

struct Table {
  Row names;
  std::vector<Row> columns;  // texts
  int64_t rows = 0;
};

Table read_table(const TableOptions& options, const std::string& where) {
  const std::string separator = options.separator == "tab" ? "\t" : options.separator;
  check(separator.size() == 1 && separator != "\"" && separator != "\n", where,
        ": separator is one character or tab, got '", options.separator, "'");
  const std::string text = read_file(options.path);
  check(is_utf8(text), options.path,
        ": is not UTF-8 text; convert it, as in iconv -f latin1 -t utf8 OLD > NEW");
  CsvReader reader(text, separator[0], options.path);
  Table out;
  check(reader.next(out.names), options.path, ": is empty; expected names of columns");
  for (const char other : {';', '\t', ','})
    check(other == separator[0] || out.names.size() > 1 ||
              out.names[0].find(other) == std::string::npos,
          options.path, ": has one column, '", out.names[0].substr(0, 100),
          "'; say what separates its values: '?separator=",
          other == '\t' ? "tab" : std::string(1, other), "'");
  std::set<std::string> seen;
  for (const std::string& name : out.names)
    check(seen.insert(name).second, options.path, ": two columns are called '", name, "'");
  out.columns.resize(out.names.size());
  for (Row row; reader.next(row); ++out.rows) {
    check(row.size() == out.names.size(), reader.where(), "has ", row.size(), " values for the ",
          out.names.size(), " columns");
    for (size_t i = 0; i < row.size(); ++i) out.columns[i].push_back(std::move(row[i]));
  }
  check(out.rows > 0, options.path, ": has names of columns, but no rows");
  return out;
}

std::vector<double> numbers_of(const Json& meaning, const Row& values, const std::string& where) {
  std::vector<double> out(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    check(parse_number(values[i], &out[i]), where, ": column '",
          meaning.at("name").get<std::string>(), "' has '", values[i].substr(0, 50), "' in row ",
          i + 1, "; expected a number");
  return out;
}

/// Mean and deviation of the training rows.
Json meaning_of_numbers(const std::string& name, const std::vector<double>& values,
                        const std::vector<int64_t>& training, const std::string& where) {
  double mean = 0, square = 0;
  bool whole = true;
  for (const int64_t row : training) {
    const double value = values[static_cast<size_t>(row)];
    mean += value / static_cast<double>(training.size());
    whole = whole && value == std::round(value);
  }
  for (const int64_t row : training) square += std::pow(values[static_cast<size_t>(row)] - mean, 2);
  const double deviation = std::sqrt(square / static_cast<double>(training.size()));
  check(std::isfinite(mean) && std::isfinite(deviation), where, ": column '", name,
        "' has numbers too large to be squared");
  return {
      {"name", name}, {"mean", mean}, {"scale", deviation > 0 ? deviation : 1}, {"whole", whole}};
}

/// What a column's coordinates mean (Dataset::columns): a number's mean, scale and whether it is
/// whole, or the names of categories.
Json meaning_of(const std::string& name, const Row& values, bool categorical,
                const std::vector<int64_t>& training, const std::string& where) {
  std::vector<double> numbers(values.size());
  std::vector<size_t> others;  // rows of cells that are no numbers
  for (size_t i = 0; !categorical && i < values.size(); ++i)
    if (!parse_number(values[i], &numbers[i])) others.push_back(i);
  if (!others.empty() && others.size() < values.size()) {
    for (const size_t row : others)
      check(!values[row].empty(), where, ": column '", name, "' has no value in row ", row + 1,
            "; fill it in or leave the row out");
    check(2 * others.size() >= values.size(), where, ": column '", name, "' holds numbers, but '",
          values[others[0]].substr(0, 40), "' in row ", others[0] + 1,
          others.size() > 1 ? " and other cells" : "",
          "; mend it or leave the row out, or say ?categorical=[\"", name,
          "\"] if its numbers are names");
  }
  if (!categorical && others.empty()) return meaning_of_numbers(name, numbers, training, where);
  const std::set<std::string> known(values.begin(), values.end());
  check(known.size() <= kMaxCategories, where, ": column '", name, "' has ", known.size(),
        " different values, not all of them numbers; at most ", kMaxCategories,
        " categories are coded. Leave it out with ?columns=[...], or mend the value that is no "
        "number");
  return {{"name", name}, {"categories", Row(known.begin(), known.end())}};
}

/// Numbers less their mean, over their scale; of categories 1 for the value's own coordinate and -1
/// for the others.
void add_coordinates(const Json& meaning, const Row& values, const std::string& where,
                     std::vector<Tensor>& out) {
  if (!meaning.contains("categories")) {
    const Tensor numbers = at::tensor(numbers_of(meaning, values, where), at::kDouble);
    out.push_back(((numbers - meaning.at("mean").get<double>()) / meaning.at("scale").get<double>())
                      .to(at::kFloat));
    return;
  }
  const Row categories = meaning.at("categories");
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < categories.size(); ++i) place[categories[i]] = i;
  const auto rows = static_cast<int64_t>(values.size());
  const Tensor coordinates =
      at::full({static_cast<int64_t>(categories.size()), rows}, -1, at::kFloat);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto found = place.find(values[i]);
    check(found != place.end(), where, ": column '", meaning.at("name").get<std::string>(),
          "' has '", values[i].substr(0, 50), "' in row ", i + 1,
          ", which is none of its categories");
    coordinates.data_ptr<float>()[found->second * values.size() + i] = 1;
  }
  for (const Tensor& coordinate : coordinates.unbind(0)) out.push_back(coordinate);
}

/// Places of the columns by their names.
std::map<std::string, size_t> places_of(const Row& names) {
  std::map<std::string, size_t> out;
  for (size_t i = 0; i < names.size(); ++i) out[names[i]] = i;
  return out;
}

size_t column_named(const std::map<std::string, size_t>& places, const Row& names,
                    const std::string& name, const std::string& where) {
  const auto found = places.find(name);
  check(found != places.end(), where, ": has no column '", name, "'", suggestion(name, names));
  return found->second;
}

/// Throws Error unless this is what meaning_of gives, and all of it can be held for so many rows.
void check_columns(const Json& columns, int64_t rows, const std::string& where) {
  check(columns.is_array(), where, ": coding: expected a list of columns");
  double coordinates = 0;
  for (const Json& meaning : columns) {
    const bool named = meaning.is_object() && meaning.value("name", Json()).is_string();
    check(named, where, ": coding: a column without a name: ", meaning.dump().substr(0, 100));
    const Json categories = meaning.value("categories", Json());
    const bool categorical = has_type<std::vector<std::string>>(categories) &&
                             !categories.empty() && categories.size() <= kMaxCategories;
    const Json mean = meaning.value("mean", Json()), scale = meaning.value("scale", Json());
    check(categorical || (mean.is_number() && scale.is_number() && scale.get<double>() > 0), where,
          ": coding: the column '", meaning["name"].get<std::string>(),
          "' has neither categories nor a mean and a scale");
    coordinates += categorical ? static_cast<double>(categories.size()) : 1;
  }
  check(coordinates * static_cast<double>(rows) <= kMaxValues, where, ": would have ", coordinates,
        " coordinates in ", rows,
        " rows; at most 2^30 values are held. Leave columns of many "
        "categories out with ?columns=[...]");
}

}  // namespace

Dataset make_table(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "table");
  const auto options = from_json<TableOptions>(rest, "table");
  check(!options.path.empty(), "table: which file? Say table:FILE.csv");
  const std::string name = "table:" + options.path;
  const Table table = read_table(options, name);
  const std::vector<int64_t> training = hold_out(table.rows, options.holdout, Split::train, name);
  const std::map<std::string, size_t> places = places_of(table.names);
  const Row used = options.columns.empty() ? table.names : options.columns;
  for (const std::string& column : options.categorical)
    column_named(places, table.names, column, name);

  Json columns = options.coding;
  if (columns.empty())
    for (const std::string& column : used)
      if (column != options.label)
        columns.push_back(
            meaning_of(column, table.columns[column_named(places, table.names, column, name)],
                       std::find(options.categorical.begin(), options.categorical.end(), column) !=
                           options.categorical.end(),
                       training, name));
  check_columns(columns, table.rows, name);
  std::vector<Tensor> coordinates;
  for (const Json& meaning : columns)
    add_coordinates(meaning,
                    table.columns[column_named(places, table.names, meaning.at("name"), name)],
                    name, coordinates);
  check(!coordinates.empty(), name, ": no columns are left");
  TensorExamples examples;
  examples.values = at::stack(coordinates, 1);
  if (!options.label.empty()) {
    const Row& texts = table.columns[column_named(places, table.names, options.label, name)];
    const std::set<std::string> known(texts.begin(), texts.end());
    check(known.size() <= 65536, name, ": the label '", options.label, "' has ", known.size(),
          " different values; at most 65536 classes are possible");
    examples.classes.assign(known.begin(), known.end());
    std::vector<int64_t> labels;
    for (const std::string& text : texts)
      labels.push_back(std::distance(known.begin(), known.find(text)));
    examples.labels = at::tensor(labels, at::kLong);
  }
  Dataset out =
      tensor_dataset(std::move(examples), hold_out(table.rows, options.holdout, split, name), name);
  out.columns = columns;
  return out;
}

std::string table_options_help() { return fields_help<TableOptions>("  "); }

}  // namespace tweedie
