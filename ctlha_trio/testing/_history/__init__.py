"""What clients were told, and whether one volume could have told it: linearizability of blocks."""
