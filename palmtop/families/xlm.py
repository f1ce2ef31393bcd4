"""XLM (Conneau and Lample 2019, 1901.07291): BERT of several languages; the parts of its layers in four lists."""

from palmtop.families.family import Family

_LISTS = "its layers lie part by part in four lists, with no module for a layer"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "xlm",
    "XLM",
    layers="transformer.attentions",
    beside_layers=("transformer.layer_norm1", "transformer.ffns", "transformer.layer_norm2"),
    built_otherwise=_LISTS,
    unsaid_tokenizer=("XLMTokenizer", "takes texts apart by Moses' rules, in Python"),
    layer_count="n_layers",
    width="emb_dim",
    feed_forward=None,
    fixed={
        "summary_type": (
            "first",
            "{where} answers by another token than the first (summary_type: {value}), which padding would change: "
            "train a head that reads the first",
        ),
        "causal": (
            False,
            "{where} lets tokens see only those before them (causal: {value}), and an encoder's see all others: write "
            "false if it was trained so",
        ),
    },
    token_types=False,
    takes_additive_mask=False,
    traced_by="palmtop.export.graph.xlm_calls.call_without_cache",
    new_head=("sequence_summary",),
    word_head="pred_layer",
    table="embeddings",
    token_rows=("pred_layer.proj.weight", "pred_layer.proj.bias"),
    no_albert="its head reads the first token as it is, ALBERT's through a layer of tanh",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_LISTS}, and palmtop cuts and shares whole layers only: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_LISTS}, from which no MobileBERT's can be made: distil it with 'distill'",
    )
    | {
        "factorize": "its embeddings are no module of their own, which could be taught: distil it to fewer layers with "
        "'distill', or trim its vocabulary with 'trim_vocabulary'"
    },
)
