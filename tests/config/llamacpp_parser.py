"""llama.cpp's own argument parser, which the wheel of ``xllamacpp`` exports as C++: ``llamacpp_parser.py OPTION...``.

``bool common_params_to_map(int argc, char ** argv, llama_example ex, std::map<common_arg, std::string> & out_map)``
(llama.cpp ``common/arg.h``) parses without loading anything. It throws at an option that it does not know, which ends
this process: so it has one of its own. Prints how many options were parsed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import xllamacpp

SERVER = 12
"""``LLAMA_EXAMPLE_SERVER`` in the pinned build: the only value for which ``--slots`` and ``--port`` are known."""
SYMBOL = "_Z20common_params_to_mapiPPc13llama_exampleRSt3mapI10common_argSsSt4lessIS3_ESaISt4pairIKS3_SsEEE"


def main() -> None:
    (library,) = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    parse = ctypes.CDLL(str(library))[SYMBOL]
    parse.restype = ctypes.c_bool
    parse.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    words = [b"llama-server", *(word.encode() for word in sys.argv[1:])]
    # An empty std::map of libstdc++: comparator, header node (colour, parent, left, right: both itself), size.
    storage = (ctypes.c_uint64 * 6)()
    storage[3] = storage[4] = ctypes.addressof(storage) + 8
    parsed = parse(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None), SERVER, ctypes.addressof(storage))
    print(storage[5], flush=True)
    os._exit(0 if parsed else 1)  # the map is not ours to destroy


if __name__ == "__main__":
    main()
