"""What does each kind of layer stretch by? One file a family, one table of all: `table`."""
