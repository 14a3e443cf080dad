// The program tweedie: the command line with what tweedie itself brings.
#include "tweedie/cli/run_cli.h"

int main(int argc, char** argv) { return tweedie::run_cli(argc, argv, tweedie::builtin()); }
