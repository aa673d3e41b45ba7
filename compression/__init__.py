"""How a specification becomes a student: shrinking, masks, fake quantization, distillation, recovery, export."""
