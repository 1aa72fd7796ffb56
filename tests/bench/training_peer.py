#!/usr/bin/env python3
"""Trains the network of the CNAS cell on CIFAR-10 in PyTorch: the same schedule as recipes/evaluate.lua, to compare
accuracies with, epoch by epoch.

    training_peer.py PEER DATA --out FILE [--channels 16 --layers 8 --epochs 15 --batch 96 --seed 1 --images 50000 …]

PEER is torch_peer.py, DATA the folder cifar-10-batches-bin. FILE gets one JSON object a line: what was asked for, then
for each epoch the mean training loss and accuracy (in training mode, augmented) and the test accuracy, in fractions.
SGD with Nesterov momentum 0.9, weight decay 3e-4, cosine to 0, gradient norm 5, crop with pad 4, flip, cutout,
auxiliary head of weight 0.4, drop-path that grows linearly over the epochs. FILE.pth is written after each epoch; where
it is there, training goes on from it.
"""
import argparse, json, math, os, runpy, sys, time
import numpy, torch
import torch.nn.functional as F

MEAN = torch.tensor([0.49139968, 0.48215827, 0.44653124]).view(1, 3, 1, 1)
STD = torch.tensor([0.24703233, 0.24348505, 0.26158768]).view(1, 3, 1, 1)


def load(folder, files):
    raw = numpy.concatenate([numpy.fromfile(f"{folder}/{f}", numpy.uint8).reshape(-1, 3073) for f in files])
    return torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(raw[:, 0].astype(numpy.int64))


def normalised(x):
    return (x.float() / 255 - MEAN) / STD


def augmented(x, cutout, rng):
    """Random crop with 4 zeros (black, before normalisation) around, flip, and a square of zeros afterwards."""
    n = x.shape[0]
    padded = F.pad(x, (4, 4, 4, 4))
    top, left, flip = (torch.randint(0, k, (n,), generator=rng) for k in (9, 9, 2))
    rows, columns = torch.arange(32), torch.arange(32)
    r = (top[:, None] + rows)[:, None, :, None]
    c = left[:, None] + torch.where(flip[:, None] == 1, 31 - columns, columns)
    x = normalised(padded[torch.arange(n)[:, None, None, None], torch.arange(3)[None, :, None, None], r, c[:, None, None]])
    if cutout:
        y0, x0 = (torch.randint(0, 32, (n, 1), generator=rng) - cutout // 2 for _ in range(2))
        inside = ((rows >= y0) & (rows < y0 + cutout))[:, :, None] & ((columns >= x0) & (columns < x0 + cutout))[:, None]
        x = x.masked_fill(inside[:, None], 0)
    return x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("peer"), p.add_argument("data"), p.add_argument("--out", required=True)
    for flag, value in dict(channels=16, layers=8, epochs=15, batch=96, seed=1, images=50000, test_images=10000, cutout=16,
                            threads=2).items():
        p.add_argument(f"--{flag}", type=int, default=value)
    for flag, value in dict(lr=0.05, drop_path=0.2, auxiliary=0.4).items():
        p.add_argument(f"--{flag}", type=float, default=value)
    p.add_argument("--compile", action="store_true", help="train through torch.compile: 20 %% faster, minutes to begin")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    peer = runpy.run_path(a.peer, run_name="peer")
    x, y = load(a.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test_x, test_y = load(a.data, ["test_batch.bin"])
    rng = torch.Generator().manual_seed(a.seed)
    chosen = torch.randperm(len(y), generator=rng)[:a.images]
    x, y = x[chosen], y[chosen]
    chosen = torch.randperm(len(test_y), generator=rng)[:a.test_images]
    test_x, test_y = test_x[chosen], test_y[chosen]
    net = peer["Net"](a.channels, 10, a.layers, genotype=peer["CNAS"], auxiliary=a.auxiliary > 0)
    net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(net.parameters(), lr=a.lr, momentum=0.9, weight_decay=3e-4, nesterov=True)
    # Compiled once: drop-path's probability is an input, the batch is not; a smaller last batch is not worth a graph.
    trained = torch.compile(net, dynamic=True) if a.compile else net
    first, state = 0, a.out + ".pth"
    if os.path.exists(state):
        saved = torch.load(state, weights_only=False)
        net.load_state_dict(saved["net"]), opt.load_state_dict(saved["opt"]), rng.set_state(saved["rng"])
        torch.set_rng_state(saved["torch"])
        first = saved["epoch"]
    else:
        with open(a.out, "w") as f:
            f.write(json.dumps(dict(vars(a), torch=torch.__version__)) + "\n")
    for epoch in range(first, a.epochs):
        started = time.time()
        for group in opt.param_groups:
            group["lr"] = 0.5 * a.lr * (1 + math.cos(math.pi * epoch / a.epochs))
        net.train()
        loss_sum = right = 0.0
        order = torch.randperm(len(y), generator=rng)
        for step, picked in enumerate(order.split(a.batch)):
            if step % 50 == 0:
                print(f"epoch {epoch + 1}: {step} steps, {time.time() - started:.0f} s", file=sys.stderr, flush=True)
            bx, by = augmented(x[picked], a.cutout, rng).to(memory_format=torch.channels_last), y[picked]
            if a.compile:
                torch._dynamo.mark_static(bx)
            logits, aux = (trained if len(by) == a.batch else net)(bx, drop=a.drop_path * epoch / a.epochs)
            loss = F.cross_entropy(logits, by)
            total = loss + a.auxiliary * F.cross_entropy(aux, by) if aux is not None else loss
            opt.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            loss_sum += loss.item() * len(by)
            right += (logits.argmax(1) == by).sum().item()
        net.eval()
        with torch.no_grad():
            found = sum((net(normalised(bx).to(memory_format=torch.channels_last))[0].argmax(1) == by).sum().item()
                        for bx, by in zip(test_x.split(250), test_y.split(250)))
        line = dict(epoch=epoch + 1, loss=loss_sum / len(y), accuracy=right / len(y), test_accuracy=found / len(test_y),
                    seconds=time.time() - started)
        with open(a.out, "a") as f:
            f.write(json.dumps(line) + "\n")
        torch.save(dict(net=net.state_dict(), opt=opt.state_dict(), rng=rng.get_state(), torch=torch.get_rng_state(),
                        epoch=epoch + 1), state)


if __name__ == "__main__":
    main()
