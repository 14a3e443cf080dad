#include "tweedie/datasets/spec.h"

#include "tests/tensor/bad_input.h"

using namespace tweedie;

TEST_CASE("a name, a path and options are taken apart") {
  CHECK(parse_data_spec("fashion-mnist").name == "fashion-mnist");
  CHECK(parse_data_spec("fashion-mnist").options == Json::object());
  const DataSpec images = parse_data_spec("images:/a/b:c?size=32&flip=false&holdout=0.25");
  CHECK(images.name == "images");
  CHECK(images.options ==
        Json{{"path", "/a/b:c"}, {"size", 32}, {"flip", false}, {"holdout", 0.25}});
  const DataSpec plain = parse_data_spec("toy?path=rings&labels=a=b");
  CHECK(plain.name == "toy");
  CHECK(plain.options == Json{{"path", "rings"}, {"labels", "a=b"}});
  // Lists of texts, with quotes and where the shell took them.
  for (const char* list : {R"(["a","b c",3])", "[a,b c,3]"})
    CHECK(parse_data_spec(std::string("table:t.csv?columns=") + list).options["columns"] ==
          Json({"a", "b c", 3}));
  // A path is a text even where it looks like a number.
  CHECK(parse_data_spec("images:7").options["path"] == "7");
}

TEST_CASE("what is no dataset is refused, with the form that is expected") {
  const auto error = [](const char* spec) { return refusal([&] { parse_data_spec(spec); }); };
  CHECK(says(error(""), "has no name; expected NAME"));
  CHECK(says(error(":x"), "has no name"));
  CHECK(says(error("images:"), "nothing follows the ':'"));
  CHECK(says(error("images:a?size"), "'size' is not key=value"));
  CHECK(says(error("images:a?=3"), "is not key=value"));
  CHECK(says(error("images:a?"), "is not key=value"));
  CHECK(says(error("images:a?size=1&size=2"), "'size' is given twice"));
  CHECK(says(error("images:a?path=b"), "'path' is given twice"));
}
