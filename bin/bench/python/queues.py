"""One measurement of a queue class of Python: KIND producers consumers messages bytes. Prints messages a second.

KIND is "mp" (multiprocessing.Queue) or "ff" (faster_fifo.Queue), each bounded like all other queues of the bench. Says
"missing: ..." and ends with 3 where there is no such class.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import time

context = multiprocessing.get_context("fork")
kind = sys.argv[1]
producers, consumers, messages, size = map(int, sys.argv[2:6])
cpus = sorted(os.sched_getaffinity(0))


def make():
    if kind == "mp":
        return context.Queue(1024)
    try:
        import faster_fifo
    except ImportError as error:
        print(f"missing: {error}")
        sys.exit(3)
    return faster_fifo.Queue(1024 * (size + 64))


def begin(cpu):
    # Nobody outlives the bench, however that ends.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if producers == consumers == 1 and len(cpus) > 1:
        os.sched_setaffinity(0, {cpus[cpu]})


def produce(queue, go, begun):
    begin(0)
    message = b"x" * size
    go.wait()
    begun.put(time.monotonic())
    for _ in range(messages):
        queue.put(message)
    for _ in range(consumers):
        queue.put(None)


def consume(queue, ready, ended):
    begin(1)
    ready.put(True)
    ends = 0
    while ends < producers:
        if queue.get() is None:
            ends += 1
    ended.put(time.monotonic())


def main():
    queue, go = make(), context.Event()
    ready, begun, ended = context.SimpleQueue(), context.SimpleQueue(), context.SimpleQueue()
    parties = [context.Process(target=consume, args=(queue, ready, ended), daemon=True) for _ in range(consumers)]
    parties += [context.Process(target=produce, args=(queue, go, begun), daemon=True) for _ in range(producers)]
    for party in parties:
        party.start()
    for _ in range(consumers):
        ready.get()
    go.set()
    first = min(begun.get() for _ in range(producers))
    last = max(ended.get() for _ in range(consumers))
    for party in parties:
        party.join()
    print(messages * producers / (last - first))


main()
