"""What ran each artifact of a bundle: a device, the vendor's runtime or emulator, our interpreter, or nothing yet."""
