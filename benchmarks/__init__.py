"""Benchmarks. Each prints ratios to something measured in the same run: machines differ."""
