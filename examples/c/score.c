/* Draws samples of a model and scores them: gcc score.c -ltweedie -o score && ./score RUN */
#include <stdio.h>
#include <stdlib.h>

#include <tweedie/c_api.h>

int main(int argc, char** argv) {
  enum { kCount = 4 };
  if (argc != 2) {
    fprintf(stderr, "usage: score MODEL\n");
    return 2;
  }
  tweedie_model* model = tweedie_load(argv[1], NULL);
  if (!model) {
    fprintf(stderr, "score: %s\n", tweedie_error());
    return 1;
  }
  const int64_t size = tweedie_sample_size(model);
  float* x = malloc(kCount * (size_t)size * sizeof *x);
  int64_t labels[kCount];
  double log_p[kCount];
  for (int i = 0; i < kCount; ++i)  /* what tweedie_sample takes in turn */
    labels[i] = tweedie_classes(model) > 0 ? i % tweedie_classes(model) : 0;
  int failed = !x || tweedie_sample(model, kCount, "{\"sampler\": \"ddim\", \"steps\": 20, \"seed\": 1}", x) != 0 ||
               tweedie_log_prob(model, x, tweedie_classes(model) > 0 ? labels : NULL, kCount,
                                "{\"method\": \"vlb\", \"path_steps\": 100, \"terms\": 4}", log_p) != 0;
  if (failed)
    fprintf(stderr, "score: %s\n", tweedie_error());
  else
    for (int i = 0; i < kCount; ++i) printf("sample %d: log p >= %.2f nats\n", i, log_p[i]);
  free(x);
  tweedie_free(model);
  return failed;
}
