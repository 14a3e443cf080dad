# Writes recipes.cpp: every recipes/*.toml as a text, so that the program needs no file beside it.
# cmake -DRECIPES=a.toml,b.toml -DOUT=recipes.cpp -P recipes.cmake
string(REPLACE "," ";" RECIPES "${RECIPES}")
set(body "#include \"tweedie/jobs/recipes.h\"\n\nnamespace tweedie {\n\nconst std::map<std::string, std::string>& builtin_recipes() {\n")
string(APPEND body "  static const std::map<std::string, std::string> recipes = {\n")
foreach(file ${RECIPES})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND body "      {\"${name}\", R\"toml(${text})toml\"},\n")
endforeach()
string(APPEND body "  };\n  return recipes;\n}\n\n}  // namespace tweedie\n")
file(WRITE ${OUT} "${body}")
