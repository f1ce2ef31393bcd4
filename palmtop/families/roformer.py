"""RoFormer (Su et al. 2021, 2104.09864): BERT that turns queries and keys by their positions."""

from palmtop.families.family import LIKE_BERT, PREDICTIONS, Family

FAMILY = Family(
    "roformer",
    "RoFormer",
    layers="roformer.encoder.layer",
    plan=LIKE_BERT,
    unsaid_tokenizer=("RoFormerTokenizer", "takes Chinese apart by jieba's dictionary of words"),
    traced_by="palmtop.export.graph.roformer.turn_by_products",
    word_head="cls",
    token_rows=PREDICTIONS,
    widened_by="embeddings_project",
    extra_parts=True,
    score_terms="queries and keys turned by their positions",
    no_albert="it turns queries and keys by their positions, ALBERT doesn't",
    refuses={
        "share": "it turns numbers of queries and keys in pairs by their positions, so these have an order, "
        "which sharing changes: distil it to fewer layers with 'distill', or prune it with 'prune_structures'",
        "to_executorch": "ExecuTorch's XNNPACK partitioner makes parts of it that wait for each other: export it with "
        "'to_tflite', 'to_onnx' or 'to_tfjs'",
    },
)
