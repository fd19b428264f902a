package org.pocketcrafter.core

/** Base of every error that the core raises on purpose; its message says what was wrong, and where. */
sealed class PocketCrafterException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** A bundle is damaged, incomplete, or not what its manifest says. */
class BundleException(message: String, cause: Throwable? = null) : PocketCrafterException(message, cause)

/** A runner is missing, or a network failed or gave numbers that are none. */
class RunnerException(message: String, cause: Throwable? = null) : PocketCrafterException(message, cause)

/** Two arrays that must have one shape do not. */
class ShapeException(message: String) : PocketCrafterException(message)

/** An argument is out of its range. */
class ConfigException(message: String) : PocketCrafterException(message)

/** A critique's text is not one. */
class ProseException(message: String) : PocketCrafterException(message)
