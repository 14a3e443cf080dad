#include "tweedie/jobs/example_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {

void ExampleTable::add_rows(const std::vector<int64_t>& indices) {
  index.insert(index.end(), indices.begin(), indices.end());
}

void ExampleTable::add(const std::string& name, const Tensor& values) {
  const Tensor rows = values.to(at::kCPU, at::kDouble).contiguous();
  std::vector<double>& column = columns[name];
  column.insert(column.end(), rows.data_ptr<double>(), rows.data_ptr<double>() + rows.numel());
  check(column.size() == index.size(), "example table: column '", name, "' has ", column.size(),
        " values for ", index.size(), " rows");
}

Tensor ExampleTable::column(const std::string& name) const {
  const auto found = columns.find(name);
  check(found != columns.end(), "example table: no column '", name, "'");
  return at::tensor(found->second, at::kDouble);
}

ExampleTable rows_where(const ExampleTable& table, const std::string& column,
                        const std::function<bool(double)>& keep) {
  const std::vector<double>& asked = table.columns.at(column);
  ExampleTable out;
  for (size_t i = 0; i < asked.size(); ++i)
    if (keep(asked[i])) out.index.push_back(table.index[i]);
  for (const auto& [name, values] : table.columns) {
    std::vector<double>& kept = out.columns[name];
    for (size_t i = 0; i < asked.size(); ++i)
      if (keep(asked[i])) kept.push_back(values[i]);
  }
  return out;
}

Json to_json(const ExampleTable& table) {
  Json out = {{"index", table.index}};
  for (const auto& [name, values] : table.columns) out[name] = values;
  return out;
}

ExampleTable table_from_json(const Json& json, const std::string& where) {
  check(json.is_object() && json.contains("index") &&
            has_type<std::vector<int64_t>>(json.at("index")),
        where, ": expected the numbers of each example with their index");
  ExampleTable table;
  for (const auto& [name, values] : json.items()) {
    if (name == "index") {
      table.index = values.get<std::vector<int64_t>>();
      continue;
    }
    check(values.is_array() && values.size() == json.at("index").size(), where, ": '", name,
          "' has not one number for each example");
    for (const Json& value : values) {
      check(value.is_number() || value.is_null(), where, ": '", name, "' holds ", value.dump());
      table.columns[name].push_back(value.is_null() ? std::nan("") : value.get<double>());
    }
  }
  return table;
}

ExampleTable merged(const std::vector<ExampleTable>& tables) {
  std::vector<std::pair<int64_t, std::pair<size_t, size_t>>> rows;  // index, table and row
  for (size_t t = 0; t < tables.size(); ++t)
    for (size_t i = 0; i < tables[t].index.size(); ++i)
      rows.push_back({tables[t].index[i], {t, i}});
  std::sort(rows.begin(), rows.end());
  ExampleTable out;
  for (size_t i = 0; i < rows.size(); ++i) {
    check(i == 0 || rows[i].first != rows[i - 1].first, "merge: example ", rows[i].first,
          " is in more than one part; give every part once");
    out.index.push_back(rows[i].first);
  }
  for (const auto& [name, values] : tables.at(0).columns) {
    for (const ExampleTable& table : tables)
      check(table.has(name) && table.columns.size() == tables[0].columns.size(),
            "merge: the parts do not have the same numbers; were they made by the same command?");
    for (const auto& [index, place] : rows)
      out.columns[name].push_back(tables[place.first].columns.at(name)[place.second]);
  }
  return out;
}

Mean mean_of(const Tensor& values) {
  const int64_t n = values.size(0);
  const double error =
      n > 1 ? values.std().item<double>() / std::sqrt(static_cast<double>(n)) : std::nan("");
  return {values.mean().item<double>(), error};
}

}  // namespace tweedie
