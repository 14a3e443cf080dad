#include <algorithm>

#include "tweedie/jobs/evaluation_data.h"

namespace tweedie {
namespace {

/// `more` added to `sum`, both lists of numbers by name.
void add_sums(Json& sum, const Json& more, const std::string& where) {
  check(more.is_object() && more.size() == sum.size(), where, ": its sums are of another kind");
  for (auto& [name, list] : sum.items()) {
    check(more.contains(name) && more.at(name).size() == list.size(), where, ": '", name,
          "' is of another length");
    for (size_t i = 0; i < list.size(); ++i)
      list[i] = list[i].is_number_float()
                    ? Json(list[i].get<double>() + more.at(name)[i].get<double>())
                    : Json(list[i].get<int64_t>() + more.at(name)[i].get<int64_t>());
  }
}

Json without_shard(Json settings) {
  settings.erase("shard");
  return settings;
}

}  // namespace

Json shard_json(const Evaluation& evaluation) {
  Json out = to_json(evaluation);
  out["merge"] = {{"settings", evaluation.settings},
                  {"table", to_json(evaluation.table)},
                  {"sums", evaluation.sums}};
  return out;
}

Evaluation merge_evaluations(const std::vector<Json>& parts,
                             const std::vector<std::string>& names) {
  check(!parts.empty(), "merge: expected the results of at least one shard");
  Evaluation out;
  std::vector<ExampleTable> tables;
  std::vector<int64_t> seen;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string& where = names.at(i);
    check(parts[i].is_object() && parts[i].contains("merge"), where,
          ": is not the result of a shard; make it with tweedie evaluate --shard i/n --json FILE");
    const Json& part = parts[i].at("merge");
    tables.push_back(table_from_json(part.at("table"), where));
    out.seconds += parts[i].value("seconds", 0.0);
    seen.push_back(part.at("settings").value("shard", int64_t{0}));
    if (i == 0) {
      out.settings = part.at("settings");
      out.sums = part.at("sums");
      continue;
    }
    check(without_shard(part.at("settings")) == without_shard(out.settings), where,
          ": is part of another evaluation than ", names[0], " (settings differ)");
    add_sums(out.sums, part.at("sums"), where);
  }
  const int64_t shards = out.settings.value("shards", int64_t{1});
  for (int64_t shard = 1; shard <= shards; ++shard)
    check(std::find(seen.begin(), seen.end(), shard) != seen.end(), "merge: shard ", shard, " of ",
          shards, " is missing; run tweedie evaluate --shard ", shard, "/", shards,
          " and give its result too");
  out.table = merged(tables);
  out.settings["shard"] = 1;
  out.settings["shards"] = 1;
  summarise(out);
  return out;
}

}  // namespace tweedie
