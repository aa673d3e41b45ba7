"""Landscapes whose best designs are known, searched by the real search code in simulated time."""
