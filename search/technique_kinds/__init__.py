"""What one would do to a network without a search: each technique of the field is one value, in the file of its family.

To add one, write a `TechniqueKind` in the file of its family (a new family is a new file), and put it at its place in
`registry.TECHNIQUES`. Nothing else lists techniques. `CONTRIBUTING.md` shows how, by an example.

- Bits: `quantization`. Channels: `pruning`. Zeros inside weights: `sparsity`. Depth, inputs, and both with width:
  `scaling`. New networks: `distillation`. Few weights trained: `few_weights`. One thing after the other: `sequences`.
- `facts` has what a technique may need of a space, such as `axis("pattern", "...")`.
- `context` has what designs are made of: widths within the budget, plans that are taught on labels or by the teacher.
"""
