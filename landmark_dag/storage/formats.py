"""The formats of stored files, and the metadata keys that every file carries; each is defined here alone."""

FORMAT_KEY = "landmark_dag.format"
"""Metadata key: the layout of the file, one of the formats below."""

VERSION_KEY = "landmark_dag.version"
"""Metadata key: the data version of the asset's output that the file holds."""

MODEL_KEY = "landmark_dag.model"
"""Metadata key: the fingerprint of the model that made what the file holds."""

NOTE_PREFIX = "landmark_dag.note."
"""Prefix of the metadata keys of a table's notes."""

TABLE_FORMAT = "1"
"""Layout of Parquet tables, and of the JSON records of what is no table."""

EMBEDDINGS_FORMAT = "1"
"""Layout of the Arrow files of embeddings."""

LOCAL_FEATURES_FORMAT = "3"
"""Layout of the Arrow files of local features."""

MODEL_FORMAT = 1
"""Layout of a trained model's folder."""

CHECKPOINT_FORMAT = 1
"""Layout of a training's checkpoint."""

RECOMPUTE = "run `landmark-dag run` on the home again, which recomputes it"
"""What to do about a stored file that is damaged, or that another release wrote."""
