"""Methods and metrics that do what no plugin should: what each does, and what becomes of it and of nobody else.

The bodies are the source of one drop-in file, so that a run meets them as it meets anyone's.
"""

from __future__ import annotations

from typing import NamedTuple


class Hostile(NamedTuple):
    """One hostile plugin.

    Attributes:
        body: source; for a method what comes before its frames, for a metric what `compute` does.
        status: what its own record or score must say.
        words: what the reason must hold.
        warned: what the run must warn of; empty for nothing.
        kills: whether it ends its process, which only `processes` survives.
    """

    body: str
    status: str = "failed"
    words: str = ""
    warned: str = ""
    kills: bool = False


METHODS = {
    "exits": Hostile("sys.exit(0)", words="raised SystemExit: 0"),
    "exits_with_a_text": Hostile("raise SystemExit('bye')", words="raised SystemExit: bye"),
    "closes_its_generator": Hostile("raise GeneratorExit", words="raised GeneratorExit"),
    "feigns_an_interrupt": Hostile("raise KeyboardInterrupt", words="raised KeyboardInterrupt"),
    "raises_from_the_base": Hostile("raise type('Odd', (BaseException,), {})('x')", words="raised Odd: x"),
    "raises_half_a_character": Hostile(r"raise ValueError('\udcff')", words=r"raised ValueError: \udcff"),
    "raises_without_a_text": Hostile("raise Mute()", words="raised Mute: <exception str() failed>"),
    "raises_a_book": Hostile("raise ValueError('x' * 10**7)", words="… (10000000 characters)"),
    "raises_control_characters": Hostile(r"raise ValueError('\x1b[2J\x00')", words=r"\x1b[2J\x00"),
    "raises_our_errors": Hostile(
        "from bench.errors import StoreError; raise StoreError('x')", words="raised StoreError: x"
    ),
    "runs_out_of_memory": Hostile("raise MemoryError", words="raised MemoryError"),
    "recurses": Hostile("(f := lambda: f())()", words="raised RecursionError"),
    "moves": Hostile("os.chdir('/')", "ok", warned="changed the working directory"),
    "moves_where_nothing_is": Hostile(
        "d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)", "ok", warned="working directory"
    ),
    "sets_the_dtype": Hostile("torch.set_default_dtype(torch.float64)", "ok", warned="torch's default dtype"),
    "sets_the_device": Hostile("torch.set_default_device('meta')", "ok", warned="torch's default device"),
    "sets_the_threads": Hostile("torch.set_num_threads(3)", "ok", warned="torch's number of threads"),
    "records_no_gradients": Hostile("torch.set_grad_enabled(False)", "ok", warned="torch's recording of gradients"),
    "wants_determinism": Hostile("torch.use_deterministic_algorithms(True)", "ok", warned="deterministic"),
    "makes_numpy_strict": Hostile("np.seterr(all='raise')", "ok", warned="NumPy's handling of errors"),
    "seeds_everything": Hostile("random.seed(1); np.random.seed(1); torch.manual_seed(1)", "ok"),
    "makes_warnings_errors": Hostile("warnings.simplefilter('error')", "ok"),
    "changes_the_environment": Hostile("os.environ['HOME'] = '/none'", "ok", warned="variables of the environment"),
    "prints": Hostile("print('PRINTED')", "ok"),
    "writes_to_standard_output": Hostile("os.write(1, b'PRINTED')", "ok"),
    "closes_the_streams": Hostile("os.close(1); os.close(2); os.close(0)", "ok"),
    "closes_everything": Hostile("os.closerange(3, 512)", kills=True),
    "leaves_a_thread": Hostile("threading.Thread(target=time.sleep, args=(900,)).start()", "ok", warned="left behind"),
    "forks_and_both_go_on": Hostile("os.fork()", "ok"),
    "forks_and_sleeps": Hostile("os.fork() or time.sleep(900)", "ok", warned="a copy of the process"),
    "ignores_interrupts": Hostile("signal.signal(signal.SIGINT, signal.SIG_IGN)", "ok", warned="handler of SIGINT"),
    "hides_new_files": Hostile("os.umask(0o777)", "ok", warned="the mode of new files"),
    "writes_into_the_start": Hostile("start.frames[:] = 0", "ok"),
    "stops_early": Hostile("return iter(())", words="frames short"),
    "never_stops": Hostile("yield from itertools.repeat(frames)", words="too many"),
    "forks_and_dies": Hostile(
        "os.fork() or time.sleep(20); os._exit(1)", words="worker was lost once: ended with exit code 1", kills=True
    ),
    "dies": Hostile("os._exit(0)", words="ended with exit code 0", kills=True),
    "kills_itself": Hostile("os.kill(os.getpid(), signal.SIGKILL)", words="killed by SIGKILL", kills=True),
    "crashes": Hostile("ctypes.string_at(0)", words="killed by SIGSEGV", kills=True),
}
"""What a method does before it gives its frames, or in their place."""

METRICS = {
    "gives_float32": Hostile("return Score(np.float32(1.5))", "ok"),
    "gives_an_array": Hostile("return Score(1.0, {}, {'v': np.arange(3.0)})", "ok"),
    "gives_a_numpy_bool": Hostile("return Score(1.0, {'b': np.bool_(True)})", "ok"),
    "gives_an_array_of_one": Hostile("return Score(np.array(2.0))", "ok"),
    "gives_nan": Hostile("return Score(float('nan'))", "ok", "not a finite number"),
    "gives_infinity": Hostile("return Score(np.inf, {'x': np.inf}, {'v': [np.nan]})", "ok", "not a finite number"),
    "gives_complex": Hostile("return Score(1j)", words="returned the value complex 1j"),
    "gives_none": Hostile("return None", words="returned NoneType; return a metrics.api.Score"),
    "gives_a_dict": Hostile("return {'value': 1.0}", words="returned dict"),
    "gives_text": Hostile("return Score('abc')", words="returned the value str 'abc'"),
    "gives_a_tensor": Hostile("return Score(torch.ones(()))", words="returned the value Tensor"),
    "gives_a_huge_number": Hostile("return Score(10**400)", words="too large"),
    "gives_a_table": Hostile("return Score(1.0, {}, {'v': np.ones((2, 2))})", words="an array of shape [2, 2]"),
    "gives_texts": Hostile("return Score(1.0, {}, {'v': ['a']})", words="series['v'] str 'a'"),
    "gives_lists_as_parts": Hostile("return Score(1.0, {'p': [1]})", words="parts['p'] list [1]"),
    "gives_numbered_parts": Hostile("return Score(1.0, {1: 1})", words="under 1; name them by texts"),
    "gives_half_a_character": Hostile(r"return Score(1.0, {'p': '\udcff'}, {}, '\udcff')", "ok"),
    "exits_too": Hostile("sys.exit(0)", words="raised SystemExit: 0"),
    "feigns_an_interrupt_too": Hostile("raise KeyboardInterrupt", words="raised KeyboardInterrupt"),
    "closes_a_generator": Hostile("raise GeneratorExit", words="raised GeneratorExit"),
    "raises_odd_text": Hostile(r"raise ValueError('\udcff')", words=r"\udcff"),
    "has_no_text": Hostile("raise Mute()", words="<exception str() failed>"),
    "sets_dtype_too": Hostile(
        "torch.set_default_dtype(torch.float64); return Score(1.0)",
        "ok",
        warned="sets_dtype_too changed torch's default",
    ),
    "sets_device_too": Hostile(
        "torch.set_default_device('meta'); return Score(1.0)", "ok", warned="sets_device_too changed torch's"
    ),
    "moves_too": Hostile("os.chdir('/'); return Score(1.0)", "ok", warned="changed the working directory"),
    "prints_too": Hostile("print('PRINTED'); return Score(1.0)", "ok"),
    "paints_over_the_frames": Hostile("return Score(1.0)", "ok"),
    "begins_with_nothing": Hostile("return Score(1.0)", words="begins_with_nothing raised AttributeError"),
    "exits_at_the_beginning": Hostile("return Score(1.0)", words="raised SystemExit"),
}
"""What a metric does in `compute`; the last three do it elsewhere, see `SOURCE`."""

SOURCE = '''
import ctypes, itertools, os, random, signal, sys, tempfile, threading, time, warnings
from dataclasses import dataclass
import numpy as np
import torch
import bench.errors
from generators.api import method
from metrics.api import Score, mean_or_none, metric

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")

@metric(name="brightness", title="Brightness", unit="0..255", better="higher", version="1")
@dataclass
class Brightness:
    """Sees if anyone changed the frames or torch's settings before it."""
    def begin(self, prompt, fps):
        return Sum()
    def window(self, series, start, stop):
        return mean_or_none(series["grey"][start:stop])

class Sum:
    def __init__(self):
        self.grey = []
    def update(self, frames):
        self.grey += [float(torch.tensor(float(f.mean()) / 3)) for f in frames]
    def compute(self, seams=()):
        return Score(sum(self.grey) / len(self.grey), {}, {"grey": self.grey})

class Idle:
    def update(self, frames):
        pass
'''

METHOD = """
@method(name="{name}", title="{name}", paper="", licence="none", continues_start=True, group="hostile")
@dataclass
class Method_{name}:
    def generate(self, request, start):
        frames = np.repeat(start.frames[-1:], request.num_frames - len(start.frames), axis=0)
        {body}
        yield frames
"""

METRIC = """
@metric(name="{name}", title="{name}", unit="1", better="lower", version="1")
@dataclass
class Metric_{name}:
    def begin(self, prompt, fps):
        return {begin}
    def window(self, series, start, stop):
        return None

class State_{name}(Idle):
    {update}
    def compute(self, seams=()):
        {body}
"""


def plugin() -> str:
    """Returns the drop-in file of all of them."""
    methods = [METHOD.format(name=name, body=hostile.body) for name, hostile in METHODS.items()]
    begins = {"begins_with_nothing": "None", "exits_at_the_beginning": "sys.exit(0)"}
    paints = "def update(self, frames): frames[:] = 0"
    metrics = [
        METRIC.format(
            name=name,
            body=hostile.body,
            begin=begins.get(name, f"State_{name}()"),
            update=paints if name == "paints_over_the_frames" else "",
        )
        for name, hostile in METRICS.items()
    ]
    return SOURCE + "".join(methods + metrics)
