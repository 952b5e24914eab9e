"""An inference engine: continuous batching over llama.cpp's unified KV cache, whose blocks `cache` manages."""
