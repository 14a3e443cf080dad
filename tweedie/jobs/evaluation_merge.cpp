#include <algorithm>

#include "tweedie/jobs/evaluation_data.h"

namespace tweedie {
namespace {

using Table = Json::object_t;  // of type_in_words "a table", whatever is in it

/// The member of a shard's file that is called `name`.  Throws Error naming the file where it is
/// not of type T.
template <class T>
const Json& member(const Json& table, const char* name, const std::string& where) {
  const auto found = table.find(name);
  const bool there = found != table.end();
  check(there && has_type<T>(*found), where, ": '", name, "' should be ", type_in_words<T>(),
        there ? "" : ", but is not there",
        "; make the file again with tweedie evaluate --shard i/n --json FILE");
  return *found;
}

/// What shards add up: lists of numbers by name.
Json sums_of(const Json& sums, const std::string& where) {
  for (const auto& [name, list] : sums.items())
    member<std::vector<double>>(sums, name.c_str(), where);
  return sums;
}

/// `more` added to `sum`, both of sums_of.
void add_sums(Json& sum, const Json& more, const std::string& where) {
  check(more.size() == sum.size(), where, ": its sums are of another kind");
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

/// Throws Error unless the settings and numbers are there that the summary of their method takes.
void check_complete(const Evaluation& part, const std::string& where) {
  for (const char* name : {"method", "kind", "meaning"})
    member<std::string>(part.settings, name, where);
  member<bool>(part.settings, "in_bits", where);
  for (const char* name : {"class_nats", "t_min"}) member<double>(part.settings, name, where);
  const int64_t dims = member<int64_t>(part.settings, "dims", where);
  check(dims >= 1, where, ": 'dims' is ", dims, "; expected 1 or more");
  const auto need = [&](const std::vector<std::string>& columns) {
    for (const std::string& column : columns)
      check(part.table.has(column), where, ": its table has no column '", column, "'");
  };
  need({"nats"});
  const bool bound = part.table.has("diffusion"), weights = part.table.has(log_weight_column(0));
  const std::string method = part.settings.at("method");
  const bool same = bound     ? method == "vlb"
                    : weights ? method == "ais"
                              : method == "ode" || method == "exact";
  check(same, where, ": 'method' is ", method, ", but its table is of another");
  if (bound) {
    need({"prior", "decoder", "terminal_mismatch"});
    check(member<std::vector<double>>(part.sums, "per_level_sums", where).size() ==
              member<std::vector<int64_t>>(part.sums, "per_level_counts", where).size(),
          where, ": its sums and counts of levels differ in length");
    for (const char* name : {"per_level_t", "per_level_log_snr"})  // null where infinite
      check(part.settings.contains(name) && part.settings[name].is_array(), where, ": '", name,
            "' should be a list");
  }
  if (weights) {
    const int64_t paths = member<int64_t>(part.settings, "paths", where);
    for (int64_t k = 0; k < paths; ++k) need({log_weight_column(k)});
    member<std::string>(part.settings, "variance", where);
  }
  if (bound || weights) {
    member<int64_t>(part.settings, "evaluations", where);
    return;
  }
  need({"prior_mismatch", "evaluations", "stopped_at_t"});
  for (const char* name : {"rtol", "atol"}) member<double>(part.settings, name, where);
  member<int64_t>(part.settings, "max_evaluations", where);
}

Evaluation part_from_json(const Json& json, const std::string& where) {
  check(json.is_object() && json.contains("merge"), where,
        ": is not the result of a shard; make it with tweedie evaluate --shard i/n --json FILE");
  const Json& merge = member<Table>(json, "merge", where);
  Evaluation part;
  part.settings = member<Table>(merge, "settings", where);
  part.table = table_from_json(member<Table>(merge, "table", where), where);
  part.sums = sums_of(member<Table>(merge, "sums", where), where);
  part.seconds = member<double>(json, "seconds", where);
  check_complete(part, where);
  return part;
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
    const Evaluation part = part_from_json(parts[i], where);
    tables.push_back(part.table);
    out.seconds += part.seconds;
    seen.push_back(member<int64_t>(part.settings, "shard", where).get<int64_t>());
    if (i == 0) {
      out.settings = part.settings;
      out.sums = part.sums;
      continue;
    }
    const Json mine = without_shard(part.settings), first = without_shard(out.settings);
    for (const auto& [name, value] : first.items())
      check(mine.value(name, Json()) == value, where, ": is part of another evaluation than ",
            names[0], ": its '", name, "' is ", mine.value(name, Json()).dump(), ", not ",
            value.dump());
    check(mine.size() == first.size(), where, ": is part of another evaluation than ", names[0],
          " (settings differ)");
    add_sums(out.sums, part.sums, where);
  }
  const int64_t shards = member<int64_t>(out.settings, "shards", names[0]),
                examples = member<int64_t>(out.settings, "examples", names[0]);
  for (int64_t shard = 1; shard <= shards; ++shard)
    check(std::find(seen.begin(), seen.end(), shard) != seen.end(), "merge: shard ", shard, " of ",
          shards, " is missing; run tweedie evaluate --shard ", shard, "/", shards,
          " and give its result too");
  out.table = merged(tables);
  const int64_t rows = static_cast<int64_t>(out.table.index.size());
  check(rows == examples, "merge: the shards have ", rows, " of the ", examples,
        " examples; were they run on the same data?  Run them all again");
  out.settings["shard"] = 1;
  out.settings["shards"] = 1;
  summarise(out);
  return out;
}

}  // namespace tweedie
