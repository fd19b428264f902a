"""Networks of real size: checkpoints of published configurations, and what lowering them takes."""
