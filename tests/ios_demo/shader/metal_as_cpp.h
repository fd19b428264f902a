// The little of Metal's language that Develop.h uses, for a C++ compiler.
#pragma once

#include <algorithm>

using uint = unsigned int;

struct float3 {
    float x, y, z;
    explicit float3(float all) : x(all), y(all), z(all) {}
    float3(float x, float y, float z) : x(x), y(y), z(z) {}
};

inline float3 operator+(float3 a, float3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline float3 operator-(float3 a, float3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline float3 operator*(float a, float3 b) { return {a * b.x, a * b.y, a * b.z}; }

template <typename T>
inline T min(T a, T b) { return std::min(a, b); }

inline float mix(float a, float b, float share) { return a + (b - a) * share; }
inline float clamp(float value, float low, float high) { return std::min(std::max(value, low), high); }
inline float3 clamp(float3 v, float low, float high) {
    return {clamp(v.x, low, high), clamp(v.y, low, high), clamp(v.z, low, high)};
}

#define PC_DEVICE
#define PC_CONSTANT
