"""How models are opened, cut and rebuilt, whatever their family."""
