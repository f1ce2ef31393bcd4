"""MobileBERT: the inverted-bottleneck teacher, and layer-by-layer transfer to a narrow student."""
