"""The same from Python, without packages: python3 score.py libtweedie.so RUN"""
import ctypes
import sys

COUNT = 4


def main(library, path):
    tweedie = ctypes.CDLL(library)
    tweedie.tweedie_load.restype = ctypes.c_void_p
    tweedie.tweedie_error.restype = ctypes.c_char_p
    for name in ("tweedie_sample_size", "tweedie_classes"):
        getattr(tweedie, name).restype = ctypes.c_int64
        getattr(tweedie, name).argtypes = [ctypes.c_void_p]
    pointer = ctypes.POINTER
    tweedie.tweedie_sample.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, pointer(ctypes.c_float)]
    tweedie.tweedie_log_prob.argtypes = [ctypes.c_void_p, pointer(ctypes.c_float), pointer(ctypes.c_int64),
                                         ctypes.c_int64, ctypes.c_char_p, pointer(ctypes.c_double)]
    tweedie.tweedie_free.argtypes = [ctypes.c_void_p]

    def check(failed):
        if failed:
            sys.exit("score.py: " + tweedie.tweedie_error().decode())

    model = tweedie.tweedie_load(path.encode(), None)
    check(not model)
    classes = tweedie.tweedie_classes(model)
    x = (ctypes.c_float * (COUNT * tweedie.tweedie_sample_size(model)))()
    labels = (ctypes.c_int64 * COUNT)(*(i % max(classes, 1) for i in range(COUNT)))
    log_p = (ctypes.c_double * COUNT)()
    check(tweedie.tweedie_sample(model, COUNT, b'{"sampler": "ddim", "steps": 20, "seed": 1}', x))
    check(tweedie.tweedie_log_prob(model, x, labels if classes else None, COUNT,
                                   b'{"method": "vlb", "path_steps": 100, "terms": 4}', log_p))
    for i, value in enumerate(log_p):
        print(f"sample {i}: log p >= {value:.2f} nats")
    tweedie.tweedie_free(model)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
