#!/usr/bin/env python3
"""Runs another program of benchmarks, torch_peer.py, and adds to what it prints how much memory it took.

    peer.py PEER paths --seed 1 --steps 12    the architectures that it draws from the seed, and its version of PyTorch
    peer.py PEER supernet …                   its report, with resident_peak: bytes that the process had at most, and
                                              resident_program: of these, once PyTorch was loaded
"""
import contextlib, io, json, random, resource, runpy, sys
import torch


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    peer, what, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    program = peak()
    if what == "paths":
        given = dict(zip(rest[::2], rest[1::2]))
        module = runpy.run_path(peer, run_name="peer")
        rng = random.Random(int(given["--seed"]))
        paths = [dict(normal=module["sample"](rng), reduction=module["sample"](rng))
                 for _ in range(int(given["--steps"]))]
        report = dict(paths=paths, torch=torch.__version__)
    else:
        sys.argv = [peer, what, *rest]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            runpy.run_path(peer, run_name="__main__")
        report = json.loads(printed.getvalue())
    print(json.dumps(dict(report, resident_peak=peak(), resident_program=program)))


if __name__ == "__main__":
    main()
