"""Full-precision teachers: published critics and artists in their released layouts, behind one interface."""
