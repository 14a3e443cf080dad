/* Models from C, and from every language that calls C: load, sample, log-probability.
 *
 * No function throws or aborts.  One that fails says so by its result (NULL or a negative number),
 * and tweedie_error() says why.  Models may be used by several threads, one call of a model at a
 * time. Samples and data are float32, row after row, in the data's own space: images in [-1, 1],
 * quantised value k of L at 2k/(L-1) - 1.
 *
 * Options are JSON texts, NULL for none: {"sampler": "dpm++2m", "steps": 20}.  An unknown key is an
 * error. */
#ifndef TWEEDIE_C_API_H
#define TWEEDIE_C_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TWEEDIE_C_API_VERSION 1

#if defined(__GNUC__)
#define TWEEDIE_API __attribute__((visibility("default")))
#else
#define TWEEDIE_API
#endif

typedef struct tweedie_model tweedie_model;

/* TWEEDIE_C_API_VERSION of the library.  Functions are never removed or changed within a version.
 */
TWEEDIE_API int tweedie_api_version(void);

/* Why this thread's last call failed; "" if none has.  Valid until its next call. */
TWEEDIE_API const char* tweedie_error(void);

/* A run folder, a checkpoint, or a model folder as diffusers lays it out.  weights: "ema", "raw" or
 * an average such as "ema.0.999"; NULL: "ema".  NULL on failure. */
TWEEDIE_API tweedie_model* tweedie_load(const char* path, const char* weights);
TWEEDIE_API void tweedie_free(tweedie_model* model);

/* Writes the sizes of one sample, as many as `capacity` allows; returns how many there are. */
TWEEDIE_API int tweedie_shape(const tweedie_model* model, int64_t* sizes, int capacity);
/* Values of one sample, the product of its sizes. */
TWEEDIE_API int64_t tweedie_sample_size(const tweedie_model* model);
/* Classes that the model was trained with; 0: none. */
TWEEDIE_API int64_t tweedie_classes(const tweedie_model* model);
/* 256 or 65536 for quantised data, 0 for continuous. */
TWEEDIE_API int64_t tweedie_levels(const tweedie_model* model);

/* Draws `count` samples into out[count * sample_size].  Options: sampler, sampler_options (an
 * object), steps, path, seed, first, class, guidance, batch, precision.  0, or -1 on failure. */
TWEEDIE_API int tweedie_sample(tweedie_model* model, int64_t count, const char* options,
                               float* out);

/* log p in nats of each of `count` examples x[count * sample_size], into out[count]; labels[count]
 * are their classes, NULL for a model without.  Options: method ("ode": the probability flow, the
 * default; "vlb": the variational bound, so that log p is at least what comes out), rtol, atol,
 * path_steps, terms, probes, divergence, decoder, seed, batch.  An example whose flow does not
 * reach its end is NaN.  0, or -1 on failure. */
TWEEDIE_API int tweedie_log_prob(tweedie_model* model, const float* x, const int64_t* labels,
                                 int64_t count, const char* options, double* out);

#ifdef __cplusplus
}
#endif

#endif
