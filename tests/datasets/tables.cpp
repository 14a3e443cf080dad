// Tables of comma-separated values.
#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/datasets/datasets.h"

using namespace tweedie;

namespace {

Dataset table(const std::string& path, const Json& more = Json::object()) {
  Json options = {{"path", path}, {"holdout", 0.25}};
  options.update(more);
  return make_table(options);
}

at::Tensor all_of(const Dataset& data) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < data.size; ++i) numbers.push_back(i);
  return data.get(numbers).x;
}

}  // namespace

TEST_CASE("numbers are standardised by the training rows, categories become coordinates") {
  const Scratch folder;
  put(folder / "a.csv",
      "age,\"city, or "
      "town\",height\r\n31,Rome,1.5\r\n42,\"Paris\",1.7\r\n\r\n53,Rome,1.9\r\n64,\"a "
      "\"\"b\"\"\",2.1\r\n");
  const Dataset train = table(folder / "a.csv"),
                test = table(folder / "a.csv", {{"split", "test"}});
  REQUIRE(train.size == 3);
  CHECK(test.size == 1);
  CHECK(train.shape == std::vector<int64_t>{5});
  CHECK(train.columns == test.columns);
  CHECK(train.columns[0]["name"] == "age");
  CHECK(train.columns[0]["whole"] == true);
  CHECK(train.columns[1]["categories"] == Json({"Paris", "Rome", "a \"b\""}));
  CHECK(train.columns[2]["whole"] == false);
  const at::Tensor x = all_of(train);
  CHECK(x.select(1, 0).mean().item<float>() == doctest::Approx(0).epsilon(1e-5));
  CHECK(x.select(1, 0).std(false).item<float>() == doctest::Approx(1));
  CHECK(x.narrow(1, 1, 3).sum(1).eq(-1).all().item<bool>());  // one category is 1, two are -1
}

TEST_CASE("a column can be the class; others can be left out or be categories of numbers") {
  const Scratch folder;
  put(folder / "a.csv", "x\ty\tkind\n1\t5\tb\n2\t5\ta\n3\t6\tb\n4\t6\ta\n");
  const Dataset data =
      table(folder / "a.csv", {{"separator", "tab"}, {"label", "kind"}, {"categorical", {"y"}}});
  CHECK(data.shape == std::vector<int64_t>{3});
  CHECK(data.classes == std::vector<std::string>{"a", "b"});
  CHECK(table(folder / "a.csv", {{"separator", "tab"}, {"columns", {"y"}}}).shape ==
        std::vector<int64_t>{1});
}

TEST_CASE("another table is seen as the model's own was") {
  const Scratch folder;
  put(folder / "a.csv", "x,c\n1,p\n2,q\n3,p\n4,q\n");
  put(folder / "b.csv", "c,x\np,10\np,20\np,10\np,20\n");
  const Dataset own = table(folder / "a.csv");
  const Dataset other = table(folder / "b.csv", {{"coding", own.columns}});
  CHECK(other.columns == own.columns);
  const double mean = own.columns[0]["mean"], scale = own.columns[0]["scale"];
  const at::Tensor x = all_of(other);
  for (int64_t i = 0; i < x.size(0); ++i) {
    const double back = x[i][0].item<double>() * scale + mean;
    CHECK((std::abs(back - 10) < 1e-4 || std::abs(back - 20) < 1e-4));
  }
  put(folder / "b.csv", "c,x\nr,10\np,20\np,10\np,20\n");
  CHECK(says(refusal([&] {
               table(folder / "b.csv", {{"coding", own.columns}});
             }),
             "none of its categories"));
}

TEST_CASE("faults of a table are named with their line or column") {
  const Scratch folder;
  const auto fault = [&](const std::string& text, const Json& more = Json::object()) {
    put(folder / "a.csv", text);
    return refusal([&] { table(folder / "a.csv", more); });
  };
  CHECK(says(fault(""), "is empty"));
  CHECK(says(fault("a,b\n"), "no rows"));
  CHECK(says(fault("a,a\n1,2\n"), "two columns are called 'a'"));
  CHECK(says(fault("a,b\n1,\xffx\n"), "is not UTF-8"));
  CHECK(says(fault("a,b\n1,2\n3\n"), "line 3: has 1 values for the 2 columns"));
  CHECK(says(fault("a,b\n1,\"2\n"), "a quoted value does not end"));
  CHECK(says(fault("a,b\n1,\"2\"x\n"), "text after a closing quote"));
  CHECK(says(fault("a,b\n1,2\n,2\n"), "column 'a' has no value in row 2"));
  CHECK(says(fault("a,b\n1,2\nNA,2\n3,4\n"), "column 'a' holds numbers, but 'NA' in row 2"));
  CHECK(fault("a,b\n1,2\nNA,2\n3,4\n", {{"categorical", {"a"}}}) == "");
  CHECK(says(fault("age,b\n1,2\n3,4\n", {{"label", "agee"}}), "did you mean 'age'"));
  CHECK(says(fault("a,b\n1,2\n3,4\n", {{"separator", ";;"}}), "one character or tab"));
  CHECK(says(fault("a;b\n1;2\n3;4\n"), "?separator=;"));
  CHECK(says(fault("a\tb\n1\t2\n3\t4\n"), "?separator=tab"));
}
