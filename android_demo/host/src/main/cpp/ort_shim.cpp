// JNI over ONNX Runtime's C API, for tests on a computer alone: apps take Microsoft's Java API.
#include <dlfcn.h>
#include <jni.h>
#include <onnxruntime_c_api.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace {

const OrtApi* api = nullptr;
OrtEnv* environment = nullptr;

void check(OrtStatus* status) {
    if (status == nullptr) return;
    std::string message = api->GetErrorMessage(status);
    api->ReleaseStatus(status);
    throw std::runtime_error(message);
}

std::string text(JNIEnv* env, jstring value) {
    const char* chars = env->GetStringUTFChars(value, nullptr);
    std::string copy(chars);
    env->ReleaseStringUTFChars(value, chars);
    return copy;
}

std::vector<std::string> texts(JNIEnv* env, jobjectArray values) {
    std::vector<std::string> found;
    for (jsize n = 0; n < env->GetArrayLength(values); n++) {
        auto value = static_cast<jstring>(env->GetObjectArrayElement(values, n));
        found.push_back(text(env, value));
        env->DeleteLocalRef(value);
    }
    return found;
}

std::vector<const char*> pointers(const std::vector<std::string>& values) {
    std::vector<const char*> found;
    for (const auto& value : values) found.push_back(value.c_str());
    return found;
}

// Values are released whatever happens.
struct Values : std::vector<OrtValue*> {
    using std::vector<OrtValue*>::vector;
    ~Values() {
        for (OrtValue* value : *this) {
            if (value != nullptr) api->ReleaseValue(value);
        }
    }
};

template <typename Work>
auto guarded(JNIEnv* env, Work work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::exception& error) {
        env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), error.what());
        return {};
    }
}

void load(const std::string& library) {
    if (api != nullptr) return;
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
    if (base == nullptr) throw std::runtime_error(library + " is not ONNX Runtime");
    const OrtApi* found = base()->GetApi(ORT_API_VERSION);
    if (found == nullptr) throw std::runtime_error(library + " is older than the headers of this shim");
    api = found;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "pocketcrafter", &environment));
    check(api->DisableTelemetryEvents(environment));
}

}  // namespace

extern "C" JNIEXPORT jlong JNICALL Java_org_pocketcrafter_host_Ort_open(
    JNIEnv* env, jobject, jstring library, jstring model, jint threads, jboolean exact) {
    return guarded(env, [&]() -> jlong {
        load(text(env, library));
        OrtSessionOptions* options = nullptr;
        check(api->CreateSessionOptions(&options));
        OrtSession* session = nullptr;
        OrtStatus* status = api->SetIntraOpNumThreads(options, threads);
        if (status == nullptr && exact) status = api->AddSessionConfigEntry(options, "session.x64quantprecision", "1");
        if (status == nullptr) status = api->CreateSession(environment, text(env, model).c_str(), options, &session);
        api->ReleaseSessionOptions(options);
        check(status);
        return reinterpret_cast<jlong>(session);
    });
}

extern "C" JNIEXPORT jobjectArray JNICALL Java_org_pocketcrafter_host_Ort_inputs(JNIEnv* env, jobject, jlong session) {
    return guarded(env, [&]() -> jobjectArray {
        auto opened = reinterpret_cast<OrtSession*>(session);
        size_t count = 0;
        check(api->SessionGetInputCount(opened, &count));
        OrtAllocator* allocator = nullptr;
        check(api->GetAllocatorWithDefaultOptions(&allocator));
        auto found = env->NewObjectArray(static_cast<jsize>(count), env->FindClass("java/lang/String"), nullptr);
        for (size_t n = 0; n < count; n++) {
            char* name = nullptr;
            check(api->SessionGetInputName(opened, n, allocator, &name));
            auto value = env->NewStringUTF(name);
            check(api->AllocatorFree(allocator, name));
            env->SetObjectArrayElement(found, static_cast<jsize>(n), value);
            env->DeleteLocalRef(value);
        }
        return found;
    });
}

extern "C" JNIEXPORT jobjectArray JNICALL Java_org_pocketcrafter_host_Ort_run(
    JNIEnv* env, jobject, jlong session, jobjectArray inputNames, jobjectArray inputs, jobjectArray shapes,
    jobjectArray outputNames) {
    return guarded(env, [&]() -> jobjectArray {
        auto names = texts(env, inputNames), wanted = texts(env, outputNames);
        OrtMemoryInfo* memory = nullptr;
        check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
        std::vector<std::vector<float>> held(names.size());
        Values values(names.size(), nullptr), results(wanted.size(), nullptr);
        OrtStatus* status = nullptr;
        for (size_t n = 0; n < names.size() && status == nullptr; n++) {
            auto array = static_cast<jfloatArray>(env->GetObjectArrayElement(inputs, static_cast<jsize>(n)));
            held[n].resize(env->GetArrayLength(array));
            env->GetFloatArrayRegion(array, 0, static_cast<jsize>(held[n].size()), held[n].data());
            env->DeleteLocalRef(array);
            auto sides = static_cast<jlongArray>(env->GetObjectArrayElement(shapes, static_cast<jsize>(n)));
            std::vector<jlong> shape(env->GetArrayLength(sides));
            env->GetLongArrayRegion(sides, 0, static_cast<jsize>(shape.size()), shape.data());
            env->DeleteLocalRef(sides);
            std::vector<int64_t> size(shape.begin(), shape.end());
            status = api->CreateTensorWithDataAsOrtValue(memory, held[n].data(), held[n].size() * sizeof(float),
                size.data(), size.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &values[n]);
        }
        api->ReleaseMemoryInfo(memory);
        check(status);
        check(api->Run(reinterpret_cast<OrtSession*>(session), nullptr, pointers(names).data(), values.data(),
            values.size(), pointers(wanted).data(), wanted.size(), results.data()));
        auto found = env->NewObjectArray(static_cast<jsize>(wanted.size()), env->FindClass("[F"), nullptr);
        for (size_t n = 0; n < wanted.size(); n++) {
            OrtTensorTypeAndShapeInfo* info = nullptr;
            check(api->GetTensorTypeAndShape(results[n], &info));
            size_t count = 0;
            status = api->GetTensorShapeElementCount(info, &count);
            api->ReleaseTensorTypeAndShapeInfo(info);
            check(status);
            void* data = nullptr;
            check(api->GetTensorMutableData(results[n], &data));
            auto array = env->NewFloatArray(static_cast<jsize>(count));
            env->SetFloatArrayRegion(array, 0, static_cast<jsize>(count), static_cast<const float*>(data));
            env->SetObjectArrayElement(found, static_cast<jsize>(n), array);
            env->DeleteLocalRef(array);
        }
        return found;
    });
}

extern "C" JNIEXPORT void JNICALL Java_org_pocketcrafter_host_Ort_close(JNIEnv*, jobject, jlong session) {
    api->ReleaseSession(reinterpret_cast<OrtSession*>(session));
}
