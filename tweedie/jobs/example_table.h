// Numbers of each evaluated example: what error bars, anomaly scores and merged shards come from.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/model/network.h"

namespace tweedie {

/// One row an example; every column has the same rows.
struct ExampleTable {
  std::vector<int64_t> index;                          // places in the data
  std::map<std::string, std::vector<double>> columns;  // by name

  /// Rows to be filled by `add` of every column.
  void add_rows(const std::vector<int64_t>& indices);
  /// values [B] of the rows added last.
  void add(const std::string& name, const Tensor& values);
  bool has(const std::string& name) const { return columns.contains(name); }
  /// [rows] in doubles.  Throws Error where there is none.
  Tensor column(const std::string& name) const;
};

/// The rows whose number in a column is one to keep.
ExampleTable rows_where(const ExampleTable& table, const std::string& column,
                        const std::function<bool(double)>& keep);

/// Numbers as they are, to the last bit; NaN is null.
Json to_json(const ExampleTable& table);
/// Throws Error on anything else than what to_json gives; `where` is for the message.
ExampleTable table_from_json(const Json& json, const std::string& where);
/// All rows by rising index.  Throws Error where two tables have the same example or other columns.
ExampleTable merged(const std::vector<ExampleTable>& tables);

struct Mean {
  double value, error;
};
/// Mean and its standard error; one example has none (NaN).  Of no example both are NaN.
Mean mean_of(const Tensor& values);

}  // namespace tweedie
