"""Rank some films for a user, from Python. Run it from the repository's root: python examples/rank_films.py [MODEL]."""

import json
import sys
from pathlib import Path

from rella_cpp import Rella, find_model

folder = Path(__file__).parent
request = json.loads((folder / "history.json").read_text(encoding="utf-8"))
films = json.loads((folder / "items.json").read_text(encoding="utf-8"))

with Rella.from_gguf(find_model(sys.argv[1] if len(sys.argv) > 1 else None), domain="movies") as rella:
    scores = rella.rank(request["history"], films, user=request["user"], k=5)

for score in sorted(scores, key=lambda score: score.probability, reverse=True):
    print(f"{score.probability:.3f}  {score.item.fields['title']}  (read behaviors {list(score.used)})")
