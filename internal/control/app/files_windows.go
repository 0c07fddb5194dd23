package app

// openFiles is how many files and connections this process may have open: Windows has no bound that matters.
func openFiles() int { return 1 << 20 }
