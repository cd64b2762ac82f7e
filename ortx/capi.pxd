# The C names of ONNX Runtime that ortx calls, in the header's order and spelling, and nothing else.
#
# `extern ... nogil` does not reach the members of a struct, so every function pointer says `noexcept nogil` itself.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "ortx_capi.h" nogil:
    const uint32_t ORTX_API_VERSION
    const uint32_t ORTX_OLDEST_API_VERSION

    ctypedef char ORTCHAR_T  # wchar_t on Windows; `text.pxi` makes the right bytes for either

    ctypedef enum OrtErrorCode:
        ORT_OK
        ORT_FAIL
        ORT_INVALID_ARGUMENT
        ORT_NO_SUCHFILE
        ORT_NO_MODEL
        ORT_ENGINE_ERROR
        ORT_RUNTIME_EXCEPTION
        ORT_INVALID_PROTOBUF
        ORT_MODEL_LOADED
        ORT_NOT_IMPLEMENTED
        ORT_INVALID_GRAPH
        ORT_EP_FAIL
        ORT_MODEL_LOAD_CANCELED
        ORT_MODEL_REQUIRES_COMPILATION
        ORT_NOT_FOUND
        ORT_DEVICE_RESET

    ctypedef enum OrtLoggingLevel:
        ORT_LOGGING_LEVEL_VERBOSE
        ORT_LOGGING_LEVEL_INFO
        ORT_LOGGING_LEVEL_WARNING
        ORT_LOGGING_LEVEL_ERROR
        ORT_LOGGING_LEVEL_FATAL

    ctypedef enum ONNXType:
        ONNX_TYPE_UNKNOWN
        ONNX_TYPE_TENSOR
        ONNX_TYPE_SEQUENCE
        ONNX_TYPE_MAP
        ONNX_TYPE_OPAQUE
        ONNX_TYPE_SPARSETENSOR
        ONNX_TYPE_OPTIONAL

    ctypedef enum ONNXTensorElementDataType:
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64
        ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING
        ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
        ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64
        ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64
        ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128
        ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT4E2M1
        ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0

    ctypedef enum GraphOptimizationLevel:
        ORT_DISABLE_ALL
        ORT_ENABLE_BASIC
        ORT_ENABLE_EXTENDED
        ORT_ENABLE_LAYOUT
        ORT_ENABLE_ALL

    ctypedef enum ExecutionMode:
        ORT_SEQUENTIAL
        ORT_PARALLEL

    ctypedef enum OrtAllocatorType:
        OrtInvalidAllocator
        OrtDeviceAllocator
        OrtArenaAllocator
        OrtReadOnlyAllocator

    ctypedef enum OrtMemType:
        OrtMemTypeCPUInput
        OrtMemTypeCPUOutput
        OrtMemTypeCPU
        OrtMemTypeDefault

    ctypedef enum OrtMemoryInfoDeviceType:
        OrtMemoryInfoDeviceType_CPU
        OrtMemoryInfoDeviceType_GPU
        OrtMemoryInfoDeviceType_FPGA
        OrtMemoryInfoDeviceType_NPU

    ctypedef enum OrtDeviceMemoryType:
        OrtDeviceMemoryType_DEFAULT
        OrtDeviceMemoryType_HOST_ACCESSIBLE

    ctypedef enum OrtSparseFormat:
        ORT_SPARSE_UNDEFINED
        ORT_SPARSE_COO
        ORT_SPARSE_CSRC
        ORT_SPARSE_BLOCK_SPARSE

    ctypedef enum OrtSparseIndicesFormat:
        ORT_SPARSE_COO_INDICES
        ORT_SPARSE_CSR_INNER_INDICES
        ORT_SPARSE_CSR_OUTER_INDICES
        ORT_SPARSE_BLOCK_SPARSE_INDICES

    ctypedef struct OrtEnv: pass
    ctypedef struct OrtMapTypeInfo: pass
    ctypedef struct OrtMemoryInfo: pass
    ctypedef struct OrtOptionalTypeInfo: pass
    ctypedef struct OrtRunOptions: pass
    ctypedef struct OrtSequenceTypeInfo: pass
    ctypedef struct OrtSession: pass
    ctypedef struct OrtSessionOptions: pass
    ctypedef struct OrtStatus: pass
    ctypedef struct OrtTensorTypeAndShapeInfo: pass
    ctypedef struct OrtThreadingOptions: pass
    ctypedef struct OrtTypeInfo: pass
    ctypedef struct OrtValue: pass
    ctypedef struct OrtModelMetadata: pass
    ctypedef struct OrtIoBinding: pass
    ctypedef struct OrtCUDAProviderOptionsV2: pass
    ctypedef struct OrtTensorRTProviderOptionsV2: pass
    ctypedef struct OrtPrepackedWeightsContainer: pass
    ctypedef struct OrtArenaCfg: pass
    ctypedef struct OrtKeyValuePairs: pass
    ctypedef struct OrtAllocator: pass

    ctypedef void (*OrtLoggingFunction)(
        void* param, OrtLoggingLevel severity, const char* category, const char* logid,
        const char* code_location, const char* message) noexcept nogil

    ctypedef struct OrtApi:
        OrtStatus* (*CreateStatus)(OrtErrorCode code, const char* msg) noexcept nogil
        OrtErrorCode (*GetErrorCode)(const OrtStatus* status) noexcept nogil
        const char* (*GetErrorMessage)(const OrtStatus* status) noexcept nogil
        OrtStatus* (*CreateEnvWithCustomLogger)(
            OrtLoggingFunction logging_function, void* logger_param, OrtLoggingLevel log_severity_level,
            const char* logid, OrtEnv** out) noexcept nogil
        OrtStatus* (*DisableTelemetryEvents)(const OrtEnv* env) noexcept nogil
        OrtStatus* (*CreateSession)(
            const OrtEnv* env, const ORTCHAR_T* model_path, const OrtSessionOptions* options,
            OrtSession** out) noexcept nogil
        OrtStatus* (*CreateSessionFromArray)(
            const OrtEnv* env, const void* model_data, size_t model_data_length,
            const OrtSessionOptions* options, OrtSession** out) noexcept nogil
        OrtStatus* (*Run)(
            OrtSession* session, const OrtRunOptions* run_options, const char* const* input_names,
            const OrtValue* const* inputs, size_t input_len, const char* const* output_names,
            size_t output_names_len, OrtValue** outputs) noexcept nogil
        OrtStatus* (*CreateSessionOptions)(OrtSessionOptions** options) noexcept nogil
        OrtStatus* (*SetOptimizedModelFilePath)(
            OrtSessionOptions* options, const ORTCHAR_T* optimized_model_filepath) noexcept nogil
        OrtStatus* (*SetSessionExecutionMode)(
            OrtSessionOptions* options, ExecutionMode execution_mode) noexcept nogil
        OrtStatus* (*EnableProfiling)(
            OrtSessionOptions* options, const ORTCHAR_T* profile_file_prefix) noexcept nogil
        OrtStatus* (*EnableMemPattern)(OrtSessionOptions* options) noexcept nogil
        OrtStatus* (*DisableMemPattern)(OrtSessionOptions* options) noexcept nogil
        OrtStatus* (*EnableCpuMemArena)(OrtSessionOptions* options) noexcept nogil
        OrtStatus* (*DisableCpuMemArena)(OrtSessionOptions* options) noexcept nogil
        OrtStatus* (*SetSessionLogId)(OrtSessionOptions* options, const char* logid) noexcept nogil
        OrtStatus* (*SetSessionLogVerbosityLevel)(
            OrtSessionOptions* options, int session_log_verbosity_level) noexcept nogil
        OrtStatus* (*SetSessionLogSeverityLevel)(
            OrtSessionOptions* options, int session_log_severity_level) noexcept nogil
        OrtStatus* (*SetSessionGraphOptimizationLevel)(
            OrtSessionOptions* options, GraphOptimizationLevel graph_optimization_level) noexcept nogil
        OrtStatus* (*SetIntraOpNumThreads)(
            OrtSessionOptions* options, int intra_op_num_threads) noexcept nogil
        OrtStatus* (*SetInterOpNumThreads)(
            OrtSessionOptions* options, int inter_op_num_threads) noexcept nogil
        OrtStatus* (*SessionGetInputCount)(const OrtSession* session, size_t* out) noexcept nogil
        OrtStatus* (*SessionGetOutputCount)(const OrtSession* session, size_t* out) noexcept nogil
        OrtStatus* (*SessionGetOverridableInitializerCount)(
            const OrtSession* session, size_t* out) noexcept nogil
        OrtStatus* (*SessionGetInputTypeInfo)(
            const OrtSession* session, size_t index, OrtTypeInfo** type_info) noexcept nogil
        OrtStatus* (*SessionGetOutputTypeInfo)(
            const OrtSession* session, size_t index, OrtTypeInfo** type_info) noexcept nogil
        OrtStatus* (*SessionGetOverridableInitializerTypeInfo)(
            const OrtSession* session, size_t index, OrtTypeInfo** type_info) noexcept nogil
        OrtStatus* (*SessionGetInputName)(
            const OrtSession* session, size_t index, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*SessionGetOutputName)(
            const OrtSession* session, size_t index, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*SessionGetOverridableInitializerName)(
            const OrtSession* session, size_t index, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*CreateRunOptions)(OrtRunOptions** out) noexcept nogil
        OrtStatus* (*RunOptionsSetRunLogVerbosityLevel)(
            OrtRunOptions* options, int log_verbosity_level) noexcept nogil
        OrtStatus* (*RunOptionsSetRunLogSeverityLevel)(
            OrtRunOptions* options, int log_severity_level) noexcept nogil
        OrtStatus* (*RunOptionsSetRunTag)(OrtRunOptions* options, const char* run_tag) noexcept nogil
        OrtStatus* (*RunOptionsGetRunLogVerbosityLevel)(
            const OrtRunOptions* options, int* log_verbosity_level) noexcept nogil
        OrtStatus* (*RunOptionsGetRunLogSeverityLevel)(
            const OrtRunOptions* options, int* log_severity_level) noexcept nogil
        OrtStatus* (*RunOptionsGetRunTag)(const OrtRunOptions* options, const char** run_tag) noexcept nogil
        OrtStatus* (*RunOptionsSetTerminate)(OrtRunOptions* options) noexcept nogil
        OrtStatus* (*RunOptionsUnsetTerminate)(OrtRunOptions* options) noexcept nogil
        OrtStatus* (*CreateTensorAsOrtValue)(
            OrtAllocator* allocator, const int64_t* shape, size_t shape_len, ONNXTensorElementDataType type,
            OrtValue** out) noexcept nogil
        OrtStatus* (*CreateTensorWithDataAsOrtValue)(
            const OrtMemoryInfo* info, void* p_data, size_t p_data_len, const int64_t* shape,
            size_t shape_len, ONNXTensorElementDataType type, OrtValue** out) noexcept nogil
        OrtStatus* (*IsTensor)(const OrtValue* value, int* out) noexcept nogil
        OrtStatus* (*GetTensorMutableData)(OrtValue* value, void** out) noexcept nogil
        OrtStatus* (*GetStringTensorDataLength)(const OrtValue* value, size_t* len) noexcept nogil
        OrtStatus* (*GetStringTensorContent)(
            const OrtValue* value, void* s, size_t s_len, size_t* offsets, size_t offsets_len) noexcept nogil
        OrtStatus* (*CastTypeInfoToTensorInfo)(
            const OrtTypeInfo* type_info, const OrtTensorTypeAndShapeInfo** out) noexcept nogil
        OrtStatus* (*GetOnnxTypeFromTypeInfo)(const OrtTypeInfo* type_info, ONNXType* out) noexcept nogil
        OrtStatus* (*GetTensorElementType)(
            const OrtTensorTypeAndShapeInfo* info, ONNXTensorElementDataType* out) noexcept nogil
        OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo* info, size_t* out) noexcept nogil
        OrtStatus* (*GetDimensions)(
            const OrtTensorTypeAndShapeInfo* info, int64_t* dim_values, size_t dim_values_length) noexcept nogil
        OrtStatus* (*GetSymbolicDimensions)(
            const OrtTensorTypeAndShapeInfo* info, const char** dim_params, size_t dim_params_length) noexcept nogil
        OrtStatus* (*GetTensorTypeAndShape)(
            const OrtValue* value, OrtTensorTypeAndShapeInfo** out) noexcept nogil
        OrtStatus* (*GetValueType)(const OrtValue* value, ONNXType* out) noexcept nogil
        OrtStatus* (*CreateCpuMemoryInfo)(
            OrtAllocatorType type, OrtMemType mem_type, OrtMemoryInfo** out) noexcept nogil
        OrtStatus* (*MemoryInfoGetName)(const OrtMemoryInfo* ptr, const char** out) noexcept nogil
        OrtStatus* (*MemoryInfoGetId)(const OrtMemoryInfo* ptr, int* out) noexcept nogil
        OrtStatus* (*MemoryInfoGetMemType)(const OrtMemoryInfo* ptr, OrtMemType* out) noexcept nogil
        OrtStatus* (*MemoryInfoGetType)(const OrtMemoryInfo* ptr, OrtAllocatorType* out) noexcept nogil
        OrtStatus* (*AllocatorFree)(OrtAllocator* ort_allocator, void* p) noexcept nogil
        OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator** out) noexcept nogil
        OrtStatus* (*AddFreeDimensionOverride)(
            OrtSessionOptions* options, const char* dim_denotation, int64_t dim_value) noexcept nogil
        OrtStatus* (*GetValue)(
            const OrtValue* value, int index, OrtAllocator* allocator, OrtValue** out) noexcept nogil
        OrtStatus* (*GetValueCount)(const OrtValue* value, size_t* out) noexcept nogil
        OrtStatus* (*CreateValue)(
            const OrtValue* const* values, size_t num_values, ONNXType value_type, OrtValue** out) noexcept nogil
        void (*ReleaseStatus)(OrtStatus* input) noexcept nogil
        void (*ReleaseMemoryInfo)(OrtMemoryInfo* input) noexcept nogil
        void (*ReleaseSession)(OrtSession* input) noexcept nogil
        void (*ReleaseValue)(OrtValue* input) noexcept nogil
        void (*ReleaseRunOptions)(OrtRunOptions* input) noexcept nogil
        void (*ReleaseTypeInfo)(OrtTypeInfo* input) noexcept nogil
        void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo* input) noexcept nogil
        void (*ReleaseSessionOptions)(OrtSessionOptions* input) noexcept nogil
        OrtStatus* (*CastTypeInfoToMapTypeInfo)(
            const OrtTypeInfo* type_info, const OrtMapTypeInfo** out) noexcept nogil
        OrtStatus* (*CastTypeInfoToSequenceTypeInfo)(
            const OrtTypeInfo* type_info, const OrtSequenceTypeInfo** out) noexcept nogil
        OrtStatus* (*GetMapKeyType)(
            const OrtMapTypeInfo* map_type_info, ONNXTensorElementDataType* out) noexcept nogil
        OrtStatus* (*GetMapValueType)(
            const OrtMapTypeInfo* map_type_info, OrtTypeInfo** type_info) noexcept nogil
        OrtStatus* (*GetSequenceElementType)(
            const OrtSequenceTypeInfo* sequence_type_info, OrtTypeInfo** type_info) noexcept nogil
        OrtStatus* (*SessionEndProfiling)(OrtSession* session, OrtAllocator* allocator, char** out) noexcept nogil
        OrtStatus* (*SessionGetModelMetadata)(const OrtSession* session, OrtModelMetadata** out) noexcept nogil
        OrtStatus* (*ModelMetadataGetProducerName)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*ModelMetadataGetGraphName)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*ModelMetadataGetDomain)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*ModelMetadataGetDescription)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*ModelMetadataLookupCustomMetadataMap)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, const char* key,
            char** value) noexcept nogil
        OrtStatus* (*ModelMetadataGetVersion)(
            const OrtModelMetadata* model_metadata, int64_t* value) noexcept nogil
        void (*ReleaseModelMetadata)(OrtModelMetadata* input) noexcept nogil
        OrtStatus* (*DisablePerSessionThreads)(OrtSessionOptions* options) noexcept nogil
        OrtStatus* (*CreateThreadingOptions)(OrtThreadingOptions** out) noexcept nogil
        void (*ReleaseThreadingOptions)(OrtThreadingOptions* input) noexcept nogil
        OrtStatus* (*ModelMetadataGetCustomMetadataMapKeys)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char*** keys,
            int64_t* num_keys) noexcept nogil
        OrtStatus* (*AddFreeDimensionOverrideByName)(
            OrtSessionOptions* options, const char* dim_name, int64_t dim_value) noexcept nogil
        OrtStatus* (*GetAvailableProviders)(char*** out_ptr, int* provider_length) noexcept nogil
        OrtStatus* (*ReleaseAvailableProviders)(char** ptr, int providers_length) noexcept nogil
        OrtStatus* (*AddSessionConfigEntry)(
            OrtSessionOptions* options, const char* config_key, const char* config_value) noexcept nogil
        OrtStatus* (*CreateAllocator)(
            const OrtSession* session, const OrtMemoryInfo* mem_info, OrtAllocator** out) noexcept nogil
        void (*ReleaseAllocator)(OrtAllocator* input) noexcept nogil
        OrtStatus* (*RunWithBinding)(
            OrtSession* session, const OrtRunOptions* run_options, const OrtIoBinding* binding_ptr) noexcept nogil
        OrtStatus* (*CreateIoBinding)(OrtSession* session, OrtIoBinding** out) noexcept nogil
        void (*ReleaseIoBinding)(OrtIoBinding* input) noexcept nogil
        OrtStatus* (*BindInput)(
            OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr) noexcept nogil
        OrtStatus* (*BindOutput)(
            OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr) noexcept nogil
        OrtStatus* (*BindOutputToDevice)(
            OrtIoBinding* binding_ptr, const char* name, const OrtMemoryInfo* mem_info_ptr) noexcept nogil
        OrtStatus* (*GetBoundOutputValues)(
            const OrtIoBinding* binding_ptr, OrtAllocator* allocator, OrtValue*** output,
            size_t* output_count) noexcept nogil
        void (*ClearBoundInputs)(OrtIoBinding* binding_ptr) noexcept nogil
        void (*ClearBoundOutputs)(OrtIoBinding* binding_ptr) noexcept nogil
        OrtStatus* (*CreateAndRegisterAllocator)(
            OrtEnv* env, const OrtMemoryInfo* mem_info, const OrtArenaCfg* arena_cfg) noexcept nogil
        OrtStatus* (*SessionGetProfilingStartTimeNs)(const OrtSession* session, uint64_t* out) noexcept nogil
        OrtStatus* (*SetGlobalIntraOpNumThreads)(
            OrtThreadingOptions* tp_options, int intra_op_num_threads) noexcept nogil
        OrtStatus* (*SetGlobalInterOpNumThreads)(
            OrtThreadingOptions* tp_options, int inter_op_num_threads) noexcept nogil
        OrtStatus* (*AddInitializer)(
            OrtSessionOptions* options, const char* name, const OrtValue* val) noexcept nogil
        OrtStatus* (*CreateEnvWithCustomLoggerAndGlobalThreadPools)(
            OrtLoggingFunction logging_function, void* logger_param, OrtLoggingLevel log_severity_level,
            const char* logid, const OrtThreadingOptions* tp_options, OrtEnv** out) noexcept nogil
        void (*ReleaseArenaCfg)(OrtArenaCfg* input) noexcept nogil
        OrtStatus* (*ModelMetadataGetGraphDescription)(
            const OrtModelMetadata* model_metadata, OrtAllocator* allocator, char** value) noexcept nogil
        OrtStatus* (*CreateArenaCfgV2)(
            const char* const* arena_config_keys, const size_t* arena_config_values, size_t num_keys,
            OrtArenaCfg** out) noexcept nogil
        OrtStatus* (*AddRunConfigEntry)(
            OrtRunOptions* options, const char* config_key, const char* config_value) noexcept nogil
        OrtStatus* (*CreatePrepackedWeightsContainer)(OrtPrepackedWeightsContainer** out) noexcept nogil
        void (*ReleasePrepackedWeightsContainer)(OrtPrepackedWeightsContainer* input) noexcept nogil
        OrtStatus* (*CreateSessionWithPrepackedWeightsContainer)(
            const OrtEnv* env, const ORTCHAR_T* model_path, const OrtSessionOptions* options,
            OrtPrepackedWeightsContainer* prepacked_weights_container, OrtSession** out) noexcept nogil
        OrtStatus* (*CreateSessionFromArrayWithPrepackedWeightsContainer)(
            const OrtEnv* env, const void* model_data, size_t model_data_length,
            const OrtSessionOptions* options, OrtPrepackedWeightsContainer* prepacked_weights_container,
            OrtSession** out) noexcept nogil
        OrtStatus* (*SessionOptionsAppendExecutionProvider_TensorRT_V2)(
            OrtSessionOptions* options, const OrtTensorRTProviderOptionsV2* tensorrt_options) noexcept nogil
        OrtStatus* (*CreateTensorRTProviderOptions)(OrtTensorRTProviderOptionsV2** out) noexcept nogil
        OrtStatus* (*UpdateTensorRTProviderOptions)(
            OrtTensorRTProviderOptionsV2* tensorrt_options, const char* const* provider_options_keys,
            const char* const* provider_options_values, size_t num_keys) noexcept nogil
        void (*ReleaseTensorRTProviderOptions)(OrtTensorRTProviderOptionsV2* input) noexcept nogil
        OrtStatus* (*CreateSparseTensorAsOrtValue)(
            OrtAllocator* allocator, const int64_t* dense_shape, size_t dense_shape_len,
            ONNXTensorElementDataType type, OrtValue** out) noexcept nogil
        OrtStatus* (*FillSparseTensorCoo)(
            OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
            size_t values_shape_len, const void* values, const int64_t* indices_data, size_t indices_num) noexcept nogil
        OrtStatus* (*FillSparseTensorCsr)(
            OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
            size_t values_shape_len, const void* values, const int64_t* inner_indices_data,
            size_t inner_indices_num, const int64_t* outer_indices_data, size_t outer_indices_num) noexcept nogil
        OrtStatus* (*FillSparseTensorBlockSparse)(
            OrtValue* ort_value, const OrtMemoryInfo* data_mem_info, const int64_t* values_shape,
            size_t values_shape_len, const void* values, const int64_t* indices_shape_data,
            size_t indices_shape_len, const int32_t* indices_data) noexcept nogil
        OrtStatus* (*CreateSparseTensorWithValuesAsOrtValue)(
            const OrtMemoryInfo* info, void* p_data, const int64_t* dense_shape, size_t dense_shape_len,
            const int64_t* values_shape, size_t values_shape_len, ONNXTensorElementDataType type,
            OrtValue** out) noexcept nogil
        OrtStatus* (*UseCooIndices)(OrtValue* ort_value, int64_t* indices_data, size_t indices_num) noexcept nogil
        OrtStatus* (*UseCsrIndices)(
            OrtValue* ort_value, int64_t* inner_data, size_t inner_num, int64_t* outer_data,
            size_t outer_num) noexcept nogil
        OrtStatus* (*UseBlockSparseIndices)(
            OrtValue* ort_value, const int64_t* indices_shape, size_t indices_shape_len,
            int32_t* indices_data) noexcept nogil
        OrtStatus* (*GetSparseTensorFormat)(const OrtValue* ort_value, OrtSparseFormat* out) noexcept nogil
        OrtStatus* (*GetSparseTensorValuesTypeAndShape)(
            const OrtValue* ort_value, OrtTensorTypeAndShapeInfo** out) noexcept nogil
        OrtStatus* (*GetSparseTensorValues)(const OrtValue* ort_value, const void** out) noexcept nogil
        OrtStatus* (*GetSparseTensorIndicesTypeShape)(
            const OrtValue* ort_value, OrtSparseIndicesFormat indices_format,
            OrtTensorTypeAndShapeInfo** out) noexcept nogil
        OrtStatus* (*GetSparseTensorIndices)(
            const OrtValue* ort_value, OrtSparseIndicesFormat indices_format, size_t* num_indices,
            const void** indices) noexcept nogil
        OrtStatus* (*HasValue)(const OrtValue* value, int* out) noexcept nogil
        OrtStatus* (*SynchronizeBoundInputs)(OrtIoBinding* binding_ptr) noexcept nogil
        OrtStatus* (*SynchronizeBoundOutputs)(OrtIoBinding* binding_ptr) noexcept nogil
        OrtStatus* (*SessionOptionsAppendExecutionProvider_CUDA_V2)(
            OrtSessionOptions* options, const OrtCUDAProviderOptionsV2* cuda_options) noexcept nogil
        OrtStatus* (*CreateCUDAProviderOptions)(OrtCUDAProviderOptionsV2** out) noexcept nogil
        OrtStatus* (*UpdateCUDAProviderOptions)(
            OrtCUDAProviderOptionsV2* cuda_options, const char* const* provider_options_keys,
            const char* const* provider_options_values, size_t num_keys) noexcept nogil
        void (*ReleaseCUDAProviderOptions)(OrtCUDAProviderOptionsV2* input) noexcept nogil
        OrtStatus* (*SessionOptionsAppendExecutionProvider)(
            OrtSessionOptions* options, const char* provider_name, const char* const* provider_options_keys,
            const char* const* provider_options_values, size_t num_keys) noexcept nogil
        void (*MemoryInfoGetDeviceType)(const OrtMemoryInfo* ptr, OrtMemoryInfoDeviceType* out) noexcept nogil
        OrtStatus* (*UpdateEnvWithCustomLogLevel)(
            OrtEnv* ort_env, OrtLoggingLevel log_severity_level) noexcept nogil
        OrtStatus* (*RegisterCustomOpsLibrary_V2)(
            OrtSessionOptions* options, const ORTCHAR_T* library_name) noexcept nogil
        OrtStatus* (*CastTypeInfoToOptionalTypeInfo)(
            const OrtTypeInfo* type_info, const OrtOptionalTypeInfo** out) noexcept nogil
        OrtStatus* (*GetOptionalContainedTypeInfo)(
            const OrtOptionalTypeInfo* optional_type_info, OrtTypeInfo** out) noexcept nogil
        OrtStatus* (*GetResizedStringTensorElementBuffer)(
            OrtValue* value, size_t index, size_t length_in_bytes, char** buffer) noexcept nogil
        const char* (*GetBuildInfoString)() noexcept nogil
        OrtStatus* (*SetDeterministicCompute)(OrtSessionOptions* options, bint value) noexcept nogil
        OrtStatus* (*AddExternalInitializersFromFilesInMemory)(
            OrtSessionOptions* options, const ORTCHAR_T* const* external_initializer_file_names,
            char* const* external_initializer_file_buffer_array,
            const size_t* external_initializer_file_lengths, size_t num_external_initializer_files) noexcept nogil
        OrtStatus* (*SetEpDynamicOptions)(
            OrtSession* sess, const char* const* keys, const char* const* values, size_t kv_len) noexcept nogil
        void (*GetKeyValuePairs)(
            const OrtKeyValuePairs* kvps, const char* const** keys, const char* const** values,
            size_t* num_entries) noexcept nogil
        void (*ReleaseKeyValuePairs)(OrtKeyValuePairs* input) noexcept nogil
        OrtStatus* (*AllocatorGetStats)(const OrtAllocator* ort_allocator, OrtKeyValuePairs** out) noexcept nogil
        OrtDeviceMemoryType (*MemoryInfoGetDeviceMemType)(const OrtMemoryInfo* ptr) noexcept nogil
        uint32_t (*MemoryInfoGetVendorId)(const OrtMemoryInfo* ptr) noexcept nogil
        OrtStatus* (*SessionGetMemoryInfoForInputs)(
            const OrtSession* session, const OrtMemoryInfo** inputs_memory_info, size_t num_inputs) noexcept nogil
        OrtStatus* (*SessionGetMemoryInfoForOutputs)(
            const OrtSession* session, const OrtMemoryInfo** outputs_memory_info, size_t num_outputs) noexcept nogil
        bint (*TensorTypeAndShape_HasShape)(const OrtTensorTypeAndShapeInfo* info) noexcept nogil
        OrtStatus* (*GetTensorElementTypeAndShapeDataReference)(
            const OrtValue* value, ONNXTensorElementDataType* elem_type, const int64_t** shape_data,
            size_t* shape_data_count) noexcept nogil

    ctypedef struct OrtApiBase:
        const OrtApi* (*GetApi)(uint32_t version) noexcept nogil
        const char* (*GetVersionString)() noexcept nogil

    ctypedef const OrtApiBase* (*OrtGetApiBaseFunction)() noexcept nogil
