#!/usr/bin/env python3
"""torchvision with PIL on the photographs of class folders: how long an image takes on one core, and what comes out.

    vision_peer.py time FOLDER [--passes 2]    prints JSON: milliseconds of processor time for an image
    vision_peer.py middle FOLDER OUT           writes the middles, 224 of 256, as safetensors: u8 (224,224,3) by path
"""
import json, os, struct, sys, time
import numpy as np
import PIL
import torch
import torchvision
from torchvision import transforms
from torchvision.datasets.folder import default_loader

FINISH = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
TRAINING = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(),
                               transforms.ColorJitter(0.4, 0.4, 0.4, 0.2)] + FINISH)
MIDDLE = [transforms.Resize(256), transforms.CenterCrop(224)]
EVALUATION = transforms.Compose(MIDDLE + FINISH)


def paths(folder):
    return sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)


def milliseconds(files, work, passes):
    best = None
    for _ in range(passes):
        start = time.process_time()
        for path in files:
            work(path)
        spent = (time.process_time() - start) * 1e3 / len(files)
        best = spent if best is None else min(best, spent)
    return best


def main():
    torch.set_num_threads(1)
    what, folder = sys.argv[1], sys.argv[2]
    files = paths(folder)
    if what == "time":
        passes = int(sys.argv[4]) if len(sys.argv) > 4 else 2
        print(json.dumps(dict(
            versions="torchvision %s, PIL %s" % (torchvision.__version__, PIL.__version__), images=len(files),
            load_ms=milliseconds(files, default_loader, passes),
            training_ms=milliseconds(files, lambda path: TRAINING(default_loader(path)), passes),
            evaluation_ms=milliseconds(files, lambda path: EVALUATION(default_loader(path)), passes))))
        return
    header, at, size = {}, 0, 224 * 224 * 3
    for path in files:
        header[os.path.relpath(path, folder)] = dict(dtype="U8", shape=[224, 224, 3], data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    middle = transforms.Compose(MIDDLE)
    with open(sys.argv[3], "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for path in files:
            out.write(np.asarray(middle(default_loader(path))).tobytes())


if __name__ == "__main__":
    main()
