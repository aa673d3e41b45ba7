"""A BERT-like encoder of six layers that sorts news into four topics: a task of its own, taught from nothing.

    autocompress search --task benchmarks/studies/bert_ag_news.py --minutes 30

The texts are the file ag-news-7600.parquet (columns text and label), beside this file, in the current folder, or in the
folder that AUTOCOMPRESS_DATA names. The words and the weights of the teacher are made on first use, from the training
split alone, in about ten minutes on two cores or seconds on a GPU, and kept in runs/. Needs the packages transformers
and pandas.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from autocompress import Task

FILE = "ag-news-7600.parquet"
WORDS, TOKENS = 8000, 64
WIDTH, LAYERS, HEADS = 192, 6, 6
EPOCHS, BATCH, RATE = 10, 64, 1e-3
TOPICS = ("world", "sports", "business", "science")
KEPT = Path("runs/bert_ag_news")


class News(Dataset[dict[str, Tensor]]):
    """Texts as token numbers [TOKENS], with a mask of those that are no padding, and a topic."""

    def __init__(self) -> None:
        import pandas as pd

        places = (Path(__file__).parent, Path(), Path(os.environ.get("AUTOCOMPRESS_DATA", ".")))
        table = pd.read_parquet(next(place / FILE for place in places if (place / FILE).exists()))
        order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0)).tolist()
        self.train, self.validation, self.test = order[2000:], order[:1000], order[1000:2000]
        texts = table["text"].tolist()
        encoded = tokenizer([texts[i] for i in self.train]).encode_batch(texts)
        self.tokens = torch.tensor([each.ids for each in encoded])
        self.masks = torch.tensor([each.attention_mask for each in encoded])
        self.topics = torch.tensor(table["label"].tolist())

    def __len__(self) -> int:
        return len(self.topics)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[index], "attention_mask": self.masks[index], "labels": self.topics[index]}


def tokenizer(texts: list[str]) -> Any:
    """Return what makes token numbers of texts, with words that were learned from `texts`."""
    from tokenizers import BertWordPieceTokenizer

    kept = KEPT / "words.json"
    if not kept.exists():
        learned = BertWordPieceTokenizer()
        learned.train_from_iterator(texts, vocab_size=WORDS, show_progress=False)
        kept.parent.mkdir(parents=True, exist_ok=True)
        learned.save(str(kept))
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(kept))
    found.enable_truncation(TOKENS)
    found.enable_padding(length=TOKENS)
    return found


def network() -> nn.Module:
    """Return the encoder without training."""
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=4 * WIDTH, max_position_embeddings=2 * TOKENS, num_labels=len(TOPICS),
        )
    )  # fmt: skip


def trained(news: News) -> nn.Module:
    """Return the encoder, trained now or before."""
    torch.manual_seed(0)
    found, kept = network(), KEPT / "teacher.pt"
    if kept.exists():
        found.load_state_dict(torch.load(kept, weights_only=True))
        return found.eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found.train().to(device)
    steps = EPOCHS * (len(news.train) // BATCH)
    optimizer = torch.optim.AdamW(found.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(EPOCHS):
        rows = torch.tensor(news.train)[torch.randperm(len(news.train))]
        for index in rows[: len(rows) // BATCH * BATCH].split(BATCH):
            logits = found(news.tokens[index].to(device), attention_mask=news.masks[index].to(device)).logits
            optimizer.zero_grad()
            F.cross_entropy(logits, news.topics[index].to(device), label_smoothing=0.1).backward()
            nn.utils.clip_grad_norm_(found.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    kept.parent.mkdir(parents=True, exist_ok=True)
    found.cpu()
    torch.save(found.state_dict(), kept)
    return found.eval()


def task() -> Task:
    """Return the task."""
    news = News()
    return Task(
        teacher=trained(news),
        train=Subset(news, news.train),
        validation=Subset(news, news.validation),
        test=Subset(news, news.test),
        name="bert_ag_news",
        labels=TOPICS,
    )
