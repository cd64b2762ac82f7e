/* The binary interface of ONNX Runtime, as far as ortx calls it.
 *
 * ONNX Runtime hands out its functions through one table, `struct OrtApi`. The table only ever grows at its end, so
 * what matters is that every slot stands in its place. Slots that ortx calls are typed; the others keep their name
 * (ORTX_SLOT) and cannot be called by accident. To use one more, replace its ORTX_SLOT line by a typed member and
 * declare the same in `ortx/capi.pxd`. `tests/test_abi.py` checks places and types.
 *
 * A slot that is newer than the loaded library does not read as NULL but as its neighbour in memory: compare the
 * library's version first, never the pointer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ORTX_CAPI_H
#define ORTX_CAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The newest table this header knows, and the oldest that ortx can work with: the minor version of ONNX Runtime. */
#define ORTX_API_VERSION 29
#define ORTX_OLDEST_API_VERSION 20

/* ONNX Runtime takes file names as UTF-16 on Windows, as bytes elsewhere, and uses stdcall on Windows (which matters
 * on 32-bit x86 only). */
#ifdef _WIN32
#include <wchar.h>
typedef wchar_t ORTCHAR_T;
#define ORTX_CALL __stdcall
#else
typedef char ORTCHAR_T;
#define ORTX_CALL
#endif

#define ORTX_SLOT(name) void(ORTX_CALL * name)(void)

/* Enumerations */

typedef enum OrtErrorCode {
  ORT_OK = 0,
  ORT_FAIL = 1,
  ORT_INVALID_ARGUMENT = 2,
  ORT_NO_SUCHFILE = 3,
  ORT_NO_MODEL = 4,
  ORT_ENGINE_ERROR = 5,
  ORT_RUNTIME_EXCEPTION = 6,
  ORT_INVALID_PROTOBUF = 7,
  ORT_MODEL_LOADED = 8,
  ORT_NOT_IMPLEMENTED = 9,
  ORT_INVALID_GRAPH = 10,
  ORT_EP_FAIL = 11,
  ORT_MODEL_LOAD_CANCELED = 12,
  ORT_MODEL_REQUIRES_COMPILATION = 13,
  ORT_NOT_FOUND = 14,
  ORT_DEVICE_RESET = 15
} OrtErrorCode;

typedef enum OrtLoggingLevel {
  ORT_LOGGING_LEVEL_VERBOSE = 0,
  ORT_LOGGING_LEVEL_INFO = 1,
  ORT_LOGGING_LEVEL_WARNING = 2,
  ORT_LOGGING_LEVEL_ERROR = 3,
  ORT_LOGGING_LEVEL_FATAL = 4
} OrtLoggingLevel;

typedef enum ONNXType {
  ONNX_TYPE_UNKNOWN = 0,
  ONNX_TYPE_TENSOR = 1,
  ONNX_TYPE_SEQUENCE = 2,
  ONNX_TYPE_MAP = 3,
  ONNX_TYPE_OPAQUE = 4,
  ONNX_TYPE_SPARSETENSOR = 5,
  ONNX_TYPE_OPTIONAL = 6
} ONNXType;

typedef enum ONNXTensorElementDataType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED = 0,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 = 3,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16 = 4,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16 = 5,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 = 6,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING = 8,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL = 9,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 = 10,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE = 11,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32 = 12,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64 = 13,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64 = 14,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128 = 15,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 = 16,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN = 17,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ = 18,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2 = 19,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ = 20,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4 = 21,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4 = 22,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT4E2M1 = 23,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2 = 24,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2 = 25,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0 = 26
} ONNXTensorElementDataType;

typedef enum OrtSparseFormat {
  ORT_SPARSE_UNDEFINED = 0,
  ORT_SPARSE_COO = 1,
  ORT_SPARSE_CSRC = 2,
  ORT_SPARSE_BLOCK_SPARSE = 4
} OrtSparseFormat;

typedef enum OrtSparseIndicesFormat {
  ORT_SPARSE_COO_INDICES = 0,
  ORT_SPARSE_CSR_INNER_INDICES = 1,
  ORT_SPARSE_CSR_OUTER_INDICES = 2,
  ORT_SPARSE_BLOCK_SPARSE_INDICES = 3
} OrtSparseIndicesFormat;

typedef enum GraphOptimizationLevel {
  ORT_DISABLE_ALL = 0,
  ORT_ENABLE_BASIC = 1,
  ORT_ENABLE_EXTENDED = 2,
  ORT_ENABLE_LAYOUT = 3,
  ORT_ENABLE_ALL = 99
} GraphOptimizationLevel;

typedef enum ExecutionMode {
  ORT_SEQUENTIAL = 0,
  ORT_PARALLEL = 1
} ExecutionMode;

typedef enum OrtAllocatorType {
  OrtInvalidAllocator = -1,
  OrtDeviceAllocator = 0,
  OrtArenaAllocator = 1,
  OrtReadOnlyAllocator = 2
} OrtAllocatorType;

typedef enum OrtMemType {
  OrtMemTypeCPUInput = -2,
  OrtMemTypeCPUOutput = -1,
  OrtMemTypeCPU = -1,
  OrtMemTypeDefault = 0
} OrtMemType;

typedef enum OrtMemoryInfoDeviceType {
  OrtMemoryInfoDeviceType_CPU = 0,
  OrtMemoryInfoDeviceType_GPU = 1,
  OrtMemoryInfoDeviceType_FPGA = 2,
  OrtMemoryInfoDeviceType_NPU = 3
} OrtMemoryInfoDeviceType;

typedef enum OrtDeviceMemoryType {
  OrtDeviceMemoryType_DEFAULT = 0,
  OrtDeviceMemoryType_HOST_ACCESSIBLE = 5
} OrtDeviceMemoryType;

/* Handles */

typedef struct OrtEnv OrtEnv;
typedef struct OrtMapTypeInfo OrtMapTypeInfo;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtOptionalTypeInfo OrtOptionalTypeInfo;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtSequenceTypeInfo OrtSequenceTypeInfo;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtStatus OrtStatus;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtThreadingOptions OrtThreadingOptions;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtValue OrtValue;
typedef struct OrtModelMetadata OrtModelMetadata;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtCUDAProviderOptionsV2 OrtCUDAProviderOptionsV2;
typedef struct OrtTensorRTProviderOptionsV2 OrtTensorRTProviderOptionsV2;
typedef struct OrtPrepackedWeightsContainer OrtPrepackedWeightsContainer;
typedef struct OrtArenaCfg OrtArenaCfg;
typedef struct OrtKeyValuePairs OrtKeyValuePairs;

/* An allocator is the one handle with visible members. Those after Info exist from the version in brackets on; `version`
 * says which one an allocator was built for. */
typedef struct OrtAllocator {
  uint32_t version;
  void* (ORTX_CALL *Alloc)(struct OrtAllocator* this_, size_t size);
  void (ORTX_CALL *Free)(struct OrtAllocator* this_, void* p);
  const OrtMemoryInfo* (ORTX_CALL *Info)(const struct OrtAllocator* this_);
  ORTX_SLOT(Reserve);       /* [18] */
  ORTX_SLOT(GetStats);      /* [23] */
  ORTX_SLOT(AllocOnStream); /* [23] */
  ORTX_SLOT(Shrink);        /* [25] */
} OrtAllocator;

/* Called on whichever thread has something to say. */
typedef void(ORTX_CALL * OrtLoggingFunction)(void* param, OrtLoggingLevel severity, const char* category,
                                             const char* logid, const char* code_location, const char* message);

/* The table of functions */

typedef struct OrtApi {
  /* API version 1 */
  OrtStatus* (ORTX_CALL *CreateStatus)(OrtErrorCode code, const char* msg);
  OrtErrorCode (ORTX_CALL *GetErrorCode)(const OrtStatus* status);
  const char* (ORTX_CALL *GetErrorMessage)(const OrtStatus* status);
  ORTX_SLOT(CreateEnv);
  OrtStatus* (ORTX_CALL *CreateEnvWithCustomLogger)
    (OrtLoggingFunction logging_function, void* logger_param, OrtLoggingLevel log_severity_level,
     const char* logid, OrtEnv** out);
  ORTX_SLOT(EnableTelemetryEvents);
  OrtStatus* (ORTX_CALL *DisableTelemetryEvents)(const OrtEnv* env);
  OrtStatus* (ORTX_CALL *CreateSession)
    (const OrtEnv* env, const ORTCHAR_T* model_path, const OrtSessionOptions* options, OrtSession** out);
  OrtStatus* (ORTX_CALL *CreateSessionFromArray)
    (const OrtEnv* env, const void* model_data, size_t model_data_length,
     const OrtSessionOptions* options, OrtSession** out);
  OrtStatus* (ORTX_CALL *Run)
    (OrtSession* session, const OrtRunOptions* run_options, const char* const* input_names,
     const OrtValue* const* inputs, size_t input_len, const char* const* output_names,
     size_t output_names_len, OrtValue** outputs);
  OrtStatus* (ORTX_CALL *CreateSessionOptions)(OrtSessionOptions** options);
  OrtStatus* (ORTX_CALL *SetOptimizedModelFilePath)
    (OrtSessionOptions* options, const ORTCHAR_T* optimized_model_filepath);
  ORTX_SLOT(CloneSessionOptions);
  OrtStatus* (ORTX_CALL *SetSessionExecutionMode)(OrtSessionOptions* options, ExecutionMode execution_mode);
  OrtStatus* (ORTX_CALL *EnableProfiling)(OrtSessionOptions* options, const ORTCHAR_T* profile_file_prefix);
  ORTX_SLOT(DisableProfiling);
  OrtStatus* (ORTX_CALL *EnableMemPattern)(OrtSessionOptions* options);
  OrtStatus* (ORTX_CALL *DisableMemPattern)(OrtSessionOptions* options);
  OrtStatus* (ORTX_CALL *EnableCpuMemArena)(OrtSessionOptions* options);
  OrtStatus* (ORTX_CALL *DisableCpuMemArena)(OrtSessionOptions* options);
  OrtStatus* (ORTX_CALL *SetSessionLogId)(OrtSessionOptions* options, const char* logid);
  OrtStatus* (ORTX_CALL *SetSessionLogVerbosityLevel)
    (OrtSessionOptions* options, int session_log_verbosity_level);
  OrtStatus* (ORTX_CALL *SetSessionLogSeverityLevel)
    (OrtSessionOptions* options, int session_log_severity_level);
  OrtStatus* (ORTX_CALL *SetSessionGraphOptimizationLevel)
    (OrtSessionOptions* options, GraphOptimizationLevel graph_optimization_level);
  OrtStatus* (ORTX_CALL *SetIntraOpNumThreads)(OrtSessionOptions* options, int intra_op_num_threads);
  OrtStatus* (ORTX_CALL *SetInterOpNumThreads)(OrtSessionOptions* options, int inter_op_num_threads);
  ORTX_SLOT(CreateCustomOpDomain);
  ORTX_SLOT(CustomOpDomain_Add);
  ORTX_SLOT(AddCustomOpDomain);
  ORTX_SLOT(RegisterCustomOpsLibrary);
  OrtStatus* (ORTX_CALL *SessionGetInputCount)(const OrtSession* session, size_t* out);
  OrtStatus* (ORTX_CALL *SessionGetOutputCount)(const OrtSession* session, size_t* out);
  OrtStatus* (ORTX_CALL *SessionGetOverridableInitializerCount)(const OrtSession* session, size_t* out);
  OrtStatus* (ORTX_CALL *SessionGetInputTypeInfo)
    (const OrtSession* session, size_t index, OrtTypeInfo** type_info);
  OrtStatus* (ORTX_CALL *SessionGetOutputTypeInfo)
    (const OrtSession* session, size_t index, OrtTypeInfo** type_info);
  OrtStatus* (ORTX_CALL *SessionGetOverridableInitializerTypeInfo)
    (const OrtSession* session, size_t index, OrtTypeInfo** type_info);
  OrtStatus* (ORTX_CALL *SessionGetInputName)
    (const OrtSession* session, size_t index, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *SessionGetOutputName)
    (const OrtSession* session, size_t index, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *SessionGetOverridableInitializerName)
    (const OrtSession* session, size_t index, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *CreateRunOptions)(OrtRunOptions** out);
  OrtStatus* (ORTX_CALL *RunOptionsSetRunLogVerbosityLevel)(OrtRunOptions* options, int log_verbosity_level);
  OrtStatus* (ORTX_CALL *RunOptionsSetRunLogSeverityLevel)(OrtRunOptions* options, int log_severity_level);
  OrtStatus* (ORTX_CALL *RunOptionsSetRunTag)(OrtRunOptions* options, const char* run_tag);
  OrtStatus* (ORTX_CALL *RunOptionsGetRunLogVerbosityLevel)
    (const OrtRunOptions* options, int* log_verbosity_level);
  OrtStatus* (ORTX_CALL *RunOptionsGetRunLogSeverityLevel)
    (const OrtRunOptions* options, int* log_severity_level);
  OrtStatus* (ORTX_CALL *RunOptionsGetRunTag)(const OrtRunOptions* options, const char** run_tag);
  OrtStatus* (ORTX_CALL *RunOptionsSetTerminate)(OrtRunOptions* options);
  OrtStatus* (ORTX_CALL *RunOptionsUnsetTerminate)(OrtRunOptions* options);
  OrtStatus* (ORTX_CALL *CreateTensorAsOrtValue)
    (OrtAllocator* allocator, const int64_t* shape, size_t shape_len, ONNXTensorElementDataType type,
     OrtValue** out);
  OrtStatus* (ORTX_CALL *CreateTensorWithDataAsOrtValue)
    (const OrtMemoryInfo* info, void* p_data, size_t p_data_len, const int64_t* shape, size_t shape_len,
     ONNXTensorElementDataType type, OrtValue** out);
  OrtStatus* (ORTX_CALL *IsTensor)(const OrtValue* value, int* out);
  OrtStatus* (ORTX_CALL *GetTensorMutableData)(OrtValue* value, void** out);
  ORTX_SLOT(FillStringTensor);
  OrtStatus* (ORTX_CALL *GetStringTensorDataLength)(const OrtValue* value, size_t* len);
  OrtStatus* (ORTX_CALL *GetStringTensorContent)
    (const OrtValue* value, void* s, size_t s_len, size_t* offsets, size_t offsets_len);
  OrtStatus* (ORTX_CALL *CastTypeInfoToTensorInfo)
    (const OrtTypeInfo* type_info, const OrtTensorTypeAndShapeInfo** out);
  OrtStatus* (ORTX_CALL *GetOnnxTypeFromTypeInfo)(const OrtTypeInfo* type_info, ONNXType* out);
  ORTX_SLOT(CreateTensorTypeAndShapeInfo);
  ORTX_SLOT(SetTensorElementType);
  ORTX_SLOT(SetDimensions);
  OrtStatus* (ORTX_CALL *GetTensorElementType)
    (const OrtTensorTypeAndShapeInfo* info, ONNXTensorElementDataType* out);
  OrtStatus* (ORTX_CALL *GetDimensionsCount)(const OrtTensorTypeAndShapeInfo* info, size_t* out);
  OrtStatus* (ORTX_CALL *GetDimensions)
    (const OrtTensorTypeAndShapeInfo* info, int64_t* dim_values, size_t dim_values_length);
  OrtStatus* (ORTX_CALL *GetSymbolicDimensions)
    (const OrtTensorTypeAndShapeInfo* info, const char* dim_params[], size_t dim_params_length);
  ORTX_SLOT(GetTensorShapeElementCount);
  OrtStatus* (ORTX_CALL *GetTensorTypeAndShape)(const OrtValue* value, OrtTensorTypeAndShapeInfo** out);
  ORTX_SLOT(GetTypeInfo);
  OrtStatus* (ORTX_CALL *GetValueType)(const OrtValue* value, ONNXType* out);
  ORTX_SLOT(CreateMemoryInfo);
  OrtStatus* (ORTX_CALL *CreateCpuMemoryInfo)
    (OrtAllocatorType type, OrtMemType mem_type, OrtMemoryInfo** out);
  ORTX_SLOT(CompareMemoryInfo);
  OrtStatus* (ORTX_CALL *MemoryInfoGetName)(const OrtMemoryInfo* ptr, const char** out);
  OrtStatus* (ORTX_CALL *MemoryInfoGetId)(const OrtMemoryInfo* ptr, int* out);
  OrtStatus* (ORTX_CALL *MemoryInfoGetMemType)(const OrtMemoryInfo* ptr, OrtMemType* out);
  OrtStatus* (ORTX_CALL *MemoryInfoGetType)(const OrtMemoryInfo* ptr, OrtAllocatorType* out);
  ORTX_SLOT(AllocatorAlloc);
  OrtStatus* (ORTX_CALL *AllocatorFree)(OrtAllocator* ort_allocator, void* p);
  ORTX_SLOT(AllocatorGetInfo);
  OrtStatus* (ORTX_CALL *GetAllocatorWithDefaultOptions)(OrtAllocator** out);
  OrtStatus* (ORTX_CALL *AddFreeDimensionOverride)
    (OrtSessionOptions* options, const char* dim_denotation, int64_t dim_value);
  OrtStatus* (ORTX_CALL *GetValue)(const OrtValue* value, int index, OrtAllocator* allocator, OrtValue** out);
  OrtStatus* (ORTX_CALL *GetValueCount)(const OrtValue* value, size_t* out);
  OrtStatus* (ORTX_CALL *CreateValue)
    (const OrtValue* const* values, size_t num_values, ONNXType value_type, OrtValue** out);
  ORTX_SLOT(CreateOpaqueValue);
  ORTX_SLOT(GetOpaqueValue);
  ORTX_SLOT(KernelInfoGetAttribute_float);
  ORTX_SLOT(KernelInfoGetAttribute_int64);
  ORTX_SLOT(KernelInfoGetAttribute_string);
  ORTX_SLOT(KernelContext_GetInputCount);
  ORTX_SLOT(KernelContext_GetOutputCount);
  ORTX_SLOT(KernelContext_GetInput);
  ORTX_SLOT(KernelContext_GetOutput);
  ORTX_SLOT(ReleaseEnv);
  void (ORTX_CALL *ReleaseStatus)(OrtStatus* input);
  void (ORTX_CALL *ReleaseMemoryInfo)(OrtMemoryInfo* input);
  void (ORTX_CALL *ReleaseSession)(OrtSession* input);
  void (ORTX_CALL *ReleaseValue)(OrtValue* input);
  void (ORTX_CALL *ReleaseRunOptions)(OrtRunOptions* input);
  void (ORTX_CALL *ReleaseTypeInfo)(OrtTypeInfo* input);
  void (ORTX_CALL *ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo* input);
  void (ORTX_CALL *ReleaseSessionOptions)(OrtSessionOptions* input);
  ORTX_SLOT(ReleaseCustomOpDomain);

  /* API version 2 */
  ORTX_SLOT(GetDenotationFromTypeInfo);
  OrtStatus* (ORTX_CALL *CastTypeInfoToMapTypeInfo)(const OrtTypeInfo* type_info, const OrtMapTypeInfo** out);
  OrtStatus* (ORTX_CALL *CastTypeInfoToSequenceTypeInfo)
    (const OrtTypeInfo* type_info, const OrtSequenceTypeInfo** out);
  OrtStatus* (ORTX_CALL *GetMapKeyType)(const OrtMapTypeInfo* map_type_info, ONNXTensorElementDataType* out);
  OrtStatus* (ORTX_CALL *GetMapValueType)(const OrtMapTypeInfo* map_type_info, OrtTypeInfo** type_info);
  OrtStatus* (ORTX_CALL *GetSequenceElementType)
    (const OrtSequenceTypeInfo* sequence_type_info, OrtTypeInfo** type_info);
  ORTX_SLOT(ReleaseMapTypeInfo);
  ORTX_SLOT(ReleaseSequenceTypeInfo);
  OrtStatus* (ORTX_CALL *SessionEndProfiling)(OrtSession* session, OrtAllocator* allocator, char** out);
  OrtStatus* (ORTX_CALL *SessionGetModelMetadata)(const OrtSession* session, OrtModelMetadata** out);
  OrtStatus* (ORTX_CALL *ModelMetadataGetProducerName)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *ModelMetadataGetGraphName)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *ModelMetadataGetDomain)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *ModelMetadataGetDescription)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value);
  OrtStatus* (ORTX_CALL *ModelMetadataLookupCustomMetadataMap)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, const char* key, char** value);
  OrtStatus* (ORTX_CALL *ModelMetadataGetVersion)(const OrtModelMetadata* model_metadata, int64_t* value);
  void (ORTX_CALL *ReleaseModelMetadata)(OrtModelMetadata* input);

  /* API version 3 */
  ORTX_SLOT(CreateEnvWithGlobalThreadPools);
  OrtStatus* (ORTX_CALL *DisablePerSessionThreads)(OrtSessionOptions* options);
  OrtStatus* (ORTX_CALL *CreateThreadingOptions)(OrtThreadingOptions** out);
  void (ORTX_CALL *ReleaseThreadingOptions)(OrtThreadingOptions* input);
  OrtStatus* (ORTX_CALL *ModelMetadataGetCustomMetadataMapKeys)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char*** keys, int64_t* num_keys);
  OrtStatus* (ORTX_CALL *AddFreeDimensionOverrideByName)
    (OrtSessionOptions* options, const char* dim_name, int64_t dim_value);

  /* API version 4 */
  OrtStatus* (ORTX_CALL *GetAvailableProviders)(char*** out_ptr, int* provider_length);
  OrtStatus* (ORTX_CALL *ReleaseAvailableProviders)(char** ptr, int providers_length);

  /* API version 5 */
  ORTX_SLOT(GetStringTensorElementLength);
  ORTX_SLOT(GetStringTensorElement);
  ORTX_SLOT(FillStringTensorElement);
  OrtStatus* (ORTX_CALL *AddSessionConfigEntry)
    (OrtSessionOptions* options, const char* config_key, const char* config_value);
  OrtStatus* (ORTX_CALL *CreateAllocator)
    (const OrtSession* session, const OrtMemoryInfo* mem_info, OrtAllocator** out);
  void (ORTX_CALL *ReleaseAllocator)(OrtAllocator* input);
  OrtStatus* (ORTX_CALL *RunWithBinding)
    (OrtSession* session, const OrtRunOptions* run_options, const OrtIoBinding* binding_ptr);
  OrtStatus* (ORTX_CALL *CreateIoBinding)(OrtSession* session, OrtIoBinding** out);
  void (ORTX_CALL *ReleaseIoBinding)(OrtIoBinding* input);
  OrtStatus* (ORTX_CALL *BindInput)(OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr);
  OrtStatus* (ORTX_CALL *BindOutput)(OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr);
  OrtStatus* (ORTX_CALL *BindOutputToDevice)
    (OrtIoBinding* binding_ptr, const char* name, const OrtMemoryInfo* mem_info_ptr);
  ORTX_SLOT(GetBoundOutputNames);
  OrtStatus* (ORTX_CALL *GetBoundOutputValues)
    (const OrtIoBinding* binding_ptr, OrtAllocator* allocator, OrtValue*** output, size_t* output_count);
  void (ORTX_CALL *ClearBoundInputs)(OrtIoBinding* binding_ptr);
  void (ORTX_CALL *ClearBoundOutputs)(OrtIoBinding* binding_ptr);
  ORTX_SLOT(TensorAt);
  OrtStatus* (ORTX_CALL *CreateAndRegisterAllocator)
    (OrtEnv* env, const OrtMemoryInfo* mem_info, const OrtArenaCfg* arena_cfg);
  ORTX_SLOT(SetLanguageProjection);
  OrtStatus* (ORTX_CALL *SessionGetProfilingStartTimeNs)(const OrtSession* session, uint64_t* out);
  OrtStatus* (ORTX_CALL *SetGlobalIntraOpNumThreads)
    (OrtThreadingOptions* tp_options, int intra_op_num_threads);
  OrtStatus* (ORTX_CALL *SetGlobalInterOpNumThreads)
    (OrtThreadingOptions* tp_options, int inter_op_num_threads);
  ORTX_SLOT(SetGlobalSpinControl);

  /* API version 6 */
  OrtStatus* (ORTX_CALL *AddInitializer)(OrtSessionOptions* options, const char* name, const OrtValue* val);
  OrtStatus* (ORTX_CALL *CreateEnvWithCustomLoggerAndGlobalThreadPools)
    (OrtLoggingFunction logging_function, void* logger_param, OrtLoggingLevel log_severity_level,
     const char* logid, const OrtThreadingOptions* tp_options, OrtEnv** out);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_CUDA);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_ROCM);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_OpenVINO);
  ORTX_SLOT(SetGlobalDenormalAsZero);
  ORTX_SLOT(CreateArenaCfg);
  void (ORTX_CALL *ReleaseArenaCfg)(OrtArenaCfg* input);

  /* API version 7 */
  OrtStatus* (ORTX_CALL *ModelMetadataGetGraphDescription)
    (const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_TensorRT);
  ORTX_SLOT(SetCurrentGpuDeviceId);
  ORTX_SLOT(GetCurrentGpuDeviceId);

  /* API version 8 */
  ORTX_SLOT(KernelInfoGetAttributeArray_float);
  ORTX_SLOT(KernelInfoGetAttributeArray_int64);
  OrtStatus* (ORTX_CALL *CreateArenaCfgV2)
    (const char* const* arena_config_keys, const size_t* arena_config_values, size_t num_keys,
     OrtArenaCfg** out);
  OrtStatus* (ORTX_CALL *AddRunConfigEntry)
    (OrtRunOptions* options, const char* config_key, const char* config_value);
  OrtStatus* (ORTX_CALL *CreatePrepackedWeightsContainer)(OrtPrepackedWeightsContainer** out);
  void (ORTX_CALL *ReleasePrepackedWeightsContainer)(OrtPrepackedWeightsContainer* input);
  OrtStatus* (ORTX_CALL *CreateSessionWithPrepackedWeightsContainer)
    (const OrtEnv* env, const ORTCHAR_T* model_path, const OrtSessionOptions* options,
     OrtPrepackedWeightsContainer* prepacked_weights_container, OrtSession** out);
  OrtStatus* (ORTX_CALL *CreateSessionFromArrayWithPrepackedWeightsContainer)
    (const OrtEnv* env, const void* model_data, size_t model_data_length,
     const OrtSessionOptions* options, OrtPrepackedWeightsContainer* prepacked_weights_container,
     OrtSession** out);

  /* API version 9 */
  OrtStatus* (ORTX_CALL *SessionOptionsAppendExecutionProvider_TensorRT_V2)
    (OrtSessionOptions* options, const OrtTensorRTProviderOptionsV2* tensorrt_options);
  OrtStatus* (ORTX_CALL *CreateTensorRTProviderOptions)(OrtTensorRTProviderOptionsV2** out);
  OrtStatus* (ORTX_CALL *UpdateTensorRTProviderOptions)
    (OrtTensorRTProviderOptionsV2* tensorrt_options, const char* const* provider_options_keys,
     const char* const* provider_options_values, size_t num_keys);
  ORTX_SLOT(GetTensorRTProviderOptionsAsString);
  void (ORTX_CALL *ReleaseTensorRTProviderOptions)(OrtTensorRTProviderOptionsV2* input);
  ORTX_SLOT(EnableOrtCustomOps);
  ORTX_SLOT(RegisterAllocator);
  ORTX_SLOT(UnregisterAllocator);
  ORTX_SLOT(IsSparseTensor);
  OrtStatus* (ORTX_CALL *CreateSparseTensorAsOrtValue)
    (OrtAllocator* allocator, const int64_t* dense_shape, size_t dense_shape_len,
     ONNXTensorElementDataType type, OrtValue** out);
  OrtStatus* (ORTX_CALL *FillSparseTensorCoo)
    (OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
     size_t values_shape_len, const void* values, const int64_t* indices_data, size_t indices_num);
  OrtStatus* (ORTX_CALL *FillSparseTensorCsr)
    (OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
     size_t values_shape_len, const void* values, const int64_t* inner_indices_data,
     size_t inner_indices_num, const int64_t* outer_indices_data, size_t outer_indices_num);
  OrtStatus* (ORTX_CALL *FillSparseTensorBlockSparse)
    (OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
     size_t values_shape_len, const void* values, const int64_t* indices_shape_data,
     size_t indices_shape_len, const int32_t* indices_data);
  OrtStatus* (ORTX_CALL *CreateSparseTensorWithValuesAsOrtValue)
    (const OrtMemoryInfo* info, void* p_data, const int64_t* dense_shape, size_t dense_shape_len,
     const int64_t* values_shape, size_t values_shape_len, ONNXTensorElementDataType type,
     OrtValue** out);
  OrtStatus* (ORTX_CALL *UseCooIndices)(OrtValue* ort_value, int64_t* indices_data, size_t indices_num);
  OrtStatus* (ORTX_CALL *UseCsrIndices)
    (OrtValue* ort_value, int64_t* inner_data, size_t inner_num, int64_t* outer_data, size_t outer_num);
  OrtStatus* (ORTX_CALL *UseBlockSparseIndices)
    (OrtValue* ort_value, const int64_t* indices_shape, size_t indices_shape_len, int32_t* indices_data);
  OrtStatus* (ORTX_CALL *GetSparseTensorFormat)(const OrtValue* ort_value, OrtSparseFormat* out);
  OrtStatus* (ORTX_CALL *GetSparseTensorValuesTypeAndShape)
    (const OrtValue* ort_value, OrtTensorTypeAndShapeInfo** out);
  OrtStatus* (ORTX_CALL *GetSparseTensorValues)(const OrtValue* ort_value, const void** out);
  OrtStatus* (ORTX_CALL *GetSparseTensorIndicesTypeShape)
    (const OrtValue* ort_value, enum OrtSparseIndicesFormat indices_format, OrtTensorTypeAndShapeInfo** out);
  OrtStatus* (ORTX_CALL *GetSparseTensorIndices)
    (const OrtValue* ort_value, enum OrtSparseIndicesFormat indices_format, size_t* num_indices,
     const void** indices);

  /* API version 10 */
  OrtStatus* (ORTX_CALL *HasValue)(const OrtValue* value, int* out);
  ORTX_SLOT(KernelContext_GetGPUComputeStream);
  ORTX_SLOT(GetTensorMemoryInfo);
  ORTX_SLOT(GetExecutionProviderApi);
  ORTX_SLOT(SessionOptionsSetCustomCreateThreadFn);
  ORTX_SLOT(SessionOptionsSetCustomThreadCreationOptions);
  ORTX_SLOT(SessionOptionsSetCustomJoinThreadFn);
  ORTX_SLOT(SetGlobalCustomCreateThreadFn);
  ORTX_SLOT(SetGlobalCustomThreadCreationOptions);
  ORTX_SLOT(SetGlobalCustomJoinThreadFn);
  OrtStatus* (ORTX_CALL *SynchronizeBoundInputs)(OrtIoBinding* binding_ptr);
  OrtStatus* (ORTX_CALL *SynchronizeBoundOutputs)(OrtIoBinding* binding_ptr);

  /* API version 11 */
  OrtStatus* (ORTX_CALL *SessionOptionsAppendExecutionProvider_CUDA_V2)
    (OrtSessionOptions* options, const OrtCUDAProviderOptionsV2* cuda_options);
  OrtStatus* (ORTX_CALL *CreateCUDAProviderOptions)(OrtCUDAProviderOptionsV2** out);
  OrtStatus* (ORTX_CALL *UpdateCUDAProviderOptions)
    (OrtCUDAProviderOptionsV2* cuda_options, const char* const* provider_options_keys,
     const char* const* provider_options_values, size_t num_keys);
  ORTX_SLOT(GetCUDAProviderOptionsAsString);
  void (ORTX_CALL *ReleaseCUDAProviderOptions)(OrtCUDAProviderOptionsV2* input);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_MIGraphX);

  /* API version 12 */
  ORTX_SLOT(AddExternalInitializers);
  ORTX_SLOT(CreateOpAttr);
  ORTX_SLOT(ReleaseOpAttr);
  ORTX_SLOT(CreateOp);
  ORTX_SLOT(InvokeOp);
  ORTX_SLOT(ReleaseOp);
  OrtStatus* (ORTX_CALL *SessionOptionsAppendExecutionProvider)
    (OrtSessionOptions* options, const char* provider_name, const char* const* provider_options_keys,
     const char* const* provider_options_values, size_t num_keys);
  ORTX_SLOT(CopyKernelInfo);
  ORTX_SLOT(ReleaseKernelInfo);

  /* API version 13 */
  ORTX_SLOT(GetTrainingApi);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_CANN);
  ORTX_SLOT(CreateCANNProviderOptions);
  ORTX_SLOT(UpdateCANNProviderOptions);
  ORTX_SLOT(GetCANNProviderOptionsAsString);
  ORTX_SLOT(ReleaseCANNProviderOptions);

  /* API version 14 */
  void (ORTX_CALL *MemoryInfoGetDeviceType)(const OrtMemoryInfo* ptr, OrtMemoryInfoDeviceType* out);
  OrtStatus* (ORTX_CALL *UpdateEnvWithCustomLogLevel)(OrtEnv* ort_env, OrtLoggingLevel log_severity_level);
  ORTX_SLOT(SetGlobalIntraOpThreadAffinity);
  OrtStatus* (ORTX_CALL *RegisterCustomOpsLibrary_V2)
    (OrtSessionOptions* options, const ORTCHAR_T* library_name);
  ORTX_SLOT(RegisterCustomOpsUsingFunction);
  ORTX_SLOT(KernelInfo_GetInputCount);
  ORTX_SLOT(KernelInfo_GetOutputCount);
  ORTX_SLOT(KernelInfo_GetInputName);
  ORTX_SLOT(KernelInfo_GetOutputName);
  ORTX_SLOT(KernelInfo_GetInputTypeInfo);
  ORTX_SLOT(KernelInfo_GetOutputTypeInfo);
  ORTX_SLOT(KernelInfoGetAttribute_tensor);
  ORTX_SLOT(HasSessionConfigEntry);
  ORTX_SLOT(GetSessionConfigEntry);

  /* API version 15 */
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_Dnnl);
  ORTX_SLOT(CreateDnnlProviderOptions);
  ORTX_SLOT(UpdateDnnlProviderOptions);
  ORTX_SLOT(GetDnnlProviderOptionsAsString);
  ORTX_SLOT(ReleaseDnnlProviderOptions);
  ORTX_SLOT(KernelInfo_GetNodeName);
  ORTX_SLOT(KernelInfo_GetLogger);
  ORTX_SLOT(KernelContext_GetLogger);
  ORTX_SLOT(Logger_LogMessage);
  ORTX_SLOT(Logger_GetLoggingSeverityLevel);
  ORTX_SLOT(KernelInfoGetConstantInput_tensor);
  OrtStatus* (ORTX_CALL *CastTypeInfoToOptionalTypeInfo)
    (const OrtTypeInfo* type_info, const OrtOptionalTypeInfo** out);
  OrtStatus* (ORTX_CALL *GetOptionalContainedTypeInfo)
    (const OrtOptionalTypeInfo* optional_type_info, OrtTypeInfo** out);
  OrtStatus* (ORTX_CALL *GetResizedStringTensorElementBuffer)
    (OrtValue* value, size_t index, size_t length_in_bytes, char** buffer);
  ORTX_SLOT(KernelContext_GetAllocator);
  const char* (ORTX_CALL *GetBuildInfoString)(void);

  /* API version 16 */
  ORTX_SLOT(CreateROCMProviderOptions);
  ORTX_SLOT(UpdateROCMProviderOptions);
  ORTX_SLOT(GetROCMProviderOptionsAsString);
  ORTX_SLOT(ReleaseROCMProviderOptions);
  ORTX_SLOT(CreateAndRegisterAllocatorV2);
  ORTX_SLOT(RunAsync);
  ORTX_SLOT(UpdateTensorRTProviderOptionsWithValue);
  ORTX_SLOT(GetTensorRTProviderOptionsByName);
  ORTX_SLOT(UpdateCUDAProviderOptionsWithValue);
  ORTX_SLOT(GetCUDAProviderOptionsByName);
  ORTX_SLOT(KernelContext_GetResource);

  /* API version 17 */
  ORTX_SLOT(SetUserLoggingFunction);
  ORTX_SLOT(ShapeInferContext_GetInputCount);
  ORTX_SLOT(ShapeInferContext_GetInputTypeShape);
  ORTX_SLOT(ShapeInferContext_GetAttribute);
  ORTX_SLOT(ShapeInferContext_SetOutputTypeShape);
  ORTX_SLOT(SetSymbolicDimensions);
  ORTX_SLOT(ReadOpAttr);
  OrtStatus* (ORTX_CALL *SetDeterministicCompute)(OrtSessionOptions* options, bool value);
  ORTX_SLOT(KernelContext_ParallelFor);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_OpenVINO_V2);

  /* API version 18 */
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_VitisAI);
  ORTX_SLOT(KernelContext_GetScratchBuffer);
  ORTX_SLOT(KernelInfoGetAllocator);
  OrtStatus* (ORTX_CALL *AddExternalInitializersFromFilesInMemory)
    (OrtSessionOptions* options, const ORTCHAR_T* const* external_initializer_file_names,
     char* const* external_initializer_file_buffer_array,
     const size_t* external_initializer_file_lengths, size_t num_external_initializer_files);

  /* API version 20, first in ONNX Runtime 1.20 */
  ORTX_SLOT(CreateLoraAdapter);
  ORTX_SLOT(CreateLoraAdapterFromArray);
  ORTX_SLOT(ReleaseLoraAdapter);
  ORTX_SLOT(RunOptionsAddActiveLoraAdapter);
  OrtStatus* (ORTX_CALL *SetEpDynamicOptions)
    (OrtSession* sess, const char* const* keys, const char* const* values, size_t kv_len);

  /* API version 22, first in ONNX Runtime 1.22 */
  ORTX_SLOT(ReleaseValueInfo);
  ORTX_SLOT(ReleaseNode);
  ORTX_SLOT(ReleaseGraph);
  ORTX_SLOT(ReleaseModel);
  ORTX_SLOT(GetValueInfoName);
  ORTX_SLOT(GetValueInfoTypeInfo);
  ORTX_SLOT(GetModelEditorApi);
  ORTX_SLOT(CreateTensorWithDataAndDeleterAsOrtValue);
  ORTX_SLOT(SessionOptionsSetLoadCancellationFlag);
  ORTX_SLOT(GetCompileApi);
  ORTX_SLOT(CreateKeyValuePairs);
  ORTX_SLOT(AddKeyValuePair);
  ORTX_SLOT(GetKeyValue);
  void (ORTX_CALL *GetKeyValuePairs)
    (const OrtKeyValuePairs* kvps, const char* const** keys, const char* const** values,
     size_t* num_entries);
  ORTX_SLOT(RemoveKeyValuePair);
  void (ORTX_CALL *ReleaseKeyValuePairs)(OrtKeyValuePairs* input);
  ORTX_SLOT(RegisterExecutionProviderLibrary);
  ORTX_SLOT(UnregisterExecutionProviderLibrary);
  ORTX_SLOT(GetEpDevices);
  ORTX_SLOT(SessionOptionsAppendExecutionProvider_V2);
  ORTX_SLOT(SessionOptionsSetEpSelectionPolicy);
  ORTX_SLOT(SessionOptionsSetEpSelectionPolicyDelegate);
  ORTX_SLOT(HardwareDevice_Type);
  ORTX_SLOT(HardwareDevice_VendorId);
  ORTX_SLOT(HardwareDevice_Vendor);
  ORTX_SLOT(HardwareDevice_DeviceId);
  ORTX_SLOT(HardwareDevice_Metadata);
  ORTX_SLOT(EpDevice_EpName);
  ORTX_SLOT(EpDevice_EpVendor);
  ORTX_SLOT(EpDevice_EpMetadata);
  ORTX_SLOT(EpDevice_EpOptions);
  ORTX_SLOT(EpDevice_Device);
  ORTX_SLOT(GetEpApi);

  /* API version 23, first in ONNX Runtime 1.23 */
  ORTX_SLOT(GetTensorSizeInBytes);
  OrtStatus* (ORTX_CALL *AllocatorGetStats)(const OrtAllocator* ort_allocator, OrtKeyValuePairs** out);
  ORTX_SLOT(CreateMemoryInfo_V2);
  OrtDeviceMemoryType (ORTX_CALL *MemoryInfoGetDeviceMemType)(const OrtMemoryInfo* ptr);
  uint32_t (ORTX_CALL *MemoryInfoGetVendorId)(const OrtMemoryInfo* ptr);
  ORTX_SLOT(ValueInfo_GetValueProducer);
  ORTX_SLOT(ValueInfo_GetValueNumConsumers);
  ORTX_SLOT(ValueInfo_GetValueConsumers);
  ORTX_SLOT(ValueInfo_GetInitializerValue);
  ORTX_SLOT(ValueInfo_GetExternalInitializerInfo);
  ORTX_SLOT(ValueInfo_IsRequiredGraphInput);
  ORTX_SLOT(ValueInfo_IsOptionalGraphInput);
  ORTX_SLOT(ValueInfo_IsGraphOutput);
  ORTX_SLOT(ValueInfo_IsConstantInitializer);
  ORTX_SLOT(ValueInfo_IsFromOuterScope);
  ORTX_SLOT(Graph_GetName);
  ORTX_SLOT(Graph_GetModelPath);
  ORTX_SLOT(Graph_GetOnnxIRVersion);
  ORTX_SLOT(Graph_GetNumOperatorSets);
  ORTX_SLOT(Graph_GetOperatorSets);
  ORTX_SLOT(Graph_GetNumInputs);
  ORTX_SLOT(Graph_GetInputs);
  ORTX_SLOT(Graph_GetNumOutputs);
  ORTX_SLOT(Graph_GetOutputs);
  ORTX_SLOT(Graph_GetNumInitializers);
  ORTX_SLOT(Graph_GetInitializers);
  ORTX_SLOT(Graph_GetNumNodes);
  ORTX_SLOT(Graph_GetNodes);
  ORTX_SLOT(Graph_GetParentNode);
  ORTX_SLOT(Graph_GetGraphView);
  ORTX_SLOT(Node_GetId);
  ORTX_SLOT(Node_GetName);
  ORTX_SLOT(Node_GetOperatorType);
  ORTX_SLOT(Node_GetDomain);
  ORTX_SLOT(Node_GetSinceVersion);
  ORTX_SLOT(Node_GetNumInputs);
  ORTX_SLOT(Node_GetInputs);
  ORTX_SLOT(Node_GetNumOutputs);
  ORTX_SLOT(Node_GetOutputs);
  ORTX_SLOT(Node_GetNumImplicitInputs);
  ORTX_SLOT(Node_GetImplicitInputs);
  ORTX_SLOT(Node_GetNumAttributes);
  ORTX_SLOT(Node_GetAttributes);
  ORTX_SLOT(Node_GetAttributeByName);
  ORTX_SLOT(OpAttr_GetTensorAttributeAsOrtValue);
  ORTX_SLOT(OpAttr_GetType);
  ORTX_SLOT(OpAttr_GetName);
  ORTX_SLOT(Node_GetNumSubgraphs);
  ORTX_SLOT(Node_GetSubgraphs);
  ORTX_SLOT(Node_GetGraph);
  ORTX_SLOT(Node_GetEpName);
  ORTX_SLOT(ReleaseExternalInitializerInfo);
  ORTX_SLOT(ExternalInitializerInfo_GetFilePath);
  ORTX_SLOT(ExternalInitializerInfo_GetFileOffset);
  ORTX_SLOT(ExternalInitializerInfo_GetByteSize);
  ORTX_SLOT(GetRunConfigEntry);
  ORTX_SLOT(EpDevice_MemoryInfo);
  ORTX_SLOT(CreateSharedAllocator);
  ORTX_SLOT(GetSharedAllocator);
  ORTX_SLOT(ReleaseSharedAllocator);
  ORTX_SLOT(GetTensorData);
  ORTX_SLOT(GetSessionOptionsConfigEntries);
  OrtStatus* (ORTX_CALL *SessionGetMemoryInfoForInputs)
    (const OrtSession* session, const OrtMemoryInfo** inputs_memory_info, size_t num_inputs);
  OrtStatus* (ORTX_CALL *SessionGetMemoryInfoForOutputs)
    (const OrtSession* session, const OrtMemoryInfo** outputs_memory_info, size_t num_outputs);
  ORTX_SLOT(SessionGetEpDeviceForInputs);
  ORTX_SLOT(CreateSyncStreamForEpDevice);
  ORTX_SLOT(SyncStream_GetHandle);
  ORTX_SLOT(ReleaseSyncStream);
  ORTX_SLOT(CopyTensors);
  ORTX_SLOT(Graph_GetModelMetadata);
  ORTX_SLOT(GetModelCompatibilityForEpDevices);
  ORTX_SLOT(CreateExternalInitializerInfo);

  /* API version 24, first in ONNX Runtime 1.24 */
  bool (ORTX_CALL *TensorTypeAndShape_HasShape)(const OrtTensorTypeAndShapeInfo* info);
  ORTX_SLOT(KernelInfo_GetConfigEntries);
  ORTX_SLOT(KernelInfo_GetOperatorDomain);
  ORTX_SLOT(KernelInfo_GetOperatorType);
  ORTX_SLOT(KernelInfo_GetOperatorSinceVersion);
  ORTX_SLOT(GetInteropApi);
  ORTX_SLOT(SessionGetEpDeviceForOutputs);
  ORTX_SLOT(GetNumHardwareDevices);
  ORTX_SLOT(GetHardwareDevices);
  ORTX_SLOT(GetHardwareDeviceEpIncompatibilityDetails);
  ORTX_SLOT(DeviceEpIncompatibilityDetails_GetReasonsBitmask);
  ORTX_SLOT(DeviceEpIncompatibilityDetails_GetNotes);
  ORTX_SLOT(DeviceEpIncompatibilityDetails_GetErrorCode);
  ORTX_SLOT(ReleaseDeviceEpIncompatibilityDetails);
  ORTX_SLOT(GetCompatibilityInfoFromModel);
  ORTX_SLOT(GetCompatibilityInfoFromModelBytes);
  ORTX_SLOT(CreateEnvWithOptions);
  ORTX_SLOT(Session_GetEpGraphAssignmentInfo);
  ORTX_SLOT(EpAssignedSubgraph_GetEpName);
  ORTX_SLOT(EpAssignedSubgraph_GetNodes);
  ORTX_SLOT(EpAssignedNode_GetName);
  ORTX_SLOT(EpAssignedNode_GetDomain);
  ORTX_SLOT(EpAssignedNode_GetOperatorType);
  ORTX_SLOT(RunOptionsSetSyncStream);
  OrtStatus* (ORTX_CALL *GetTensorElementTypeAndShapeDataReference)
    (const OrtValue* value, ONNXTensorElementDataType* elem_type, const int64_t** shape_data,
     size_t* shape_data_count);

  /* API version 25, first in ONNX Runtime 1.25 */
  ORTX_SLOT(RunOptionsEnableProfiling);
  ORTX_SLOT(RunOptionsDisableProfiling);
  ORTX_SLOT(KernelInfoGetAttributeArray_string);
  ORTX_SLOT(SetPerSessionThreadPoolCallbacks);

  /* API version 27, first in ONNX Runtime 1.27 */
  ORTX_SLOT(GetMemPatternEnabled);
  ORTX_SLOT(GetSessionExecutionMode);
  ORTX_SLOT(SessionReleaseCapturedGraph);

  /* API version 28, first in ONNX Runtime 1.28 */
  ORTX_SLOT(GetExperimentalFunction);
  ORTX_SLOT(KernelContext_GetSyncStream);

  /* API version 29, first in ONNX Runtime 1.29 */
  ORTX_SLOT(SessionOptionsSetWeightlessSourceModelBuffer);
} OrtApi;

typedef struct OrtApiBase {
  const OrtApi* (ORTX_CALL *GetApi)(uint32_t version);
  const char* (ORTX_CALL *GetVersionString)(void);
} OrtApiBase;

/* The one symbol that the library must export, OrtGetApiBase, is of this type. */
typedef const OrtApiBase* (ORTX_CALL *OrtGetApiBaseFunction)(void);

#ifdef __cplusplus
}
#endif

#endif /* ORTX_CAPI_H */
