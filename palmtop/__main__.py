"""python -m palmtop, which torchrun and accelerate start."""

from palmtop.cli.main import main

if __name__ == "__main__":
    main()
