"""MobileBERT's body, its teacher IB-BERT, and the transfer between them."""
