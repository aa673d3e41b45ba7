// The chosen model, layer by layer.
