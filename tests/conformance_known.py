"""The cases of the ONNX backend suite that ONNX Runtime fails, by reason (read by `test_conformance.py`).

It is right for these versions, on Linux x86-64; the official package fails in the same cases, by the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

import ortx

VERSIONS = {"onnx": "1.23.2", "onnxruntime": "1.31.1"}

NO_KERNEL = r"(?:Could not find an implementation|Failed to find kernel) for "

# How many cases the suite has, by kind, so that none goes missing.
SUITE = {"node": 1884, "simple": 23, "pytorch-converted": 82, "pytorch-operator": 35, "real": 9}


@dataclass(frozen=True)
class Reason:
    """Why some cases fail."""

    why: str
    error: type[Exception]  # AssertionError: the model runs, and the values are others
    says: str  # what is found in the message, as a regular expression
    cases: str  # names, separated by white space
    close_enough: tuple[float, float] | None = None  # relative and absolute tolerance that the values keep
    is_locale: bool = False  # only on machines without it


REASONS = [
    Reason(
        "no kernel: these models are of opset 6 or older, and ORT begins with 7",
        ortx.NotSupported,
        NO_KERNEL + r"(?:Add|AveragePool|BatchNormalization|Gemm|Mul|PRelu|Pow)\([16]\)",
        """
        test_AvgPool1d test_AvgPool1d_stride test_AvgPool2d test_AvgPool2d_stride test_AvgPool3d test_AvgPool3d_stride
        test_AvgPool3d_stride1_pad0_gpu_input test_BatchNorm1d_3d_input_eval test_BatchNorm2d_eval
        test_BatchNorm2d_momentum_eval test_BatchNorm3d_eval test_BatchNorm3d_momentum_eval test_GLU test_GLU_dim
        test_Linear test_PReLU_1d test_PReLU_1d_multiparam test_PReLU_2d test_PReLU_2d_multiparam test_PReLU_3d
        test_PReLU_3d_multiparam test_PoissonNLLLLoss_no_reduce test_Softsign test_operator_add_broadcast
        test_operator_add_size1_broadcast test_operator_add_size1_right_broadcast
        test_operator_add_size1_singleton_broadcast test_operator_addconstant test_operator_addmm test_operator_basic
        test_operator_mm test_operator_non_float_params test_operator_params test_operator_pow
        """,
    ),
    Reason(
        "no kernel for FLOAT4E2M1",
        ortx.NotSupported,
        NO_KERNEL + r"(?:Cast|DequantizeLinear|QuantizeLinear)\(",
        """
        test_cast_FLOAT16_to_FLOAT4E2M1 test_cast_FLOAT4E2M1_to_FLOAT test_cast_FLOAT4E2M1_to_FLOAT16
        test_cast_FLOAT_to_FLOAT4E2M1 test_castlike_FLOAT16_to_FLOAT4E2M1 test_castlike_FLOAT16_to_FLOAT4E2M1_expanded
        test_castlike_FLOAT4E2M1_to_FLOAT test_castlike_FLOAT4E2M1_to_FLOAT16
        test_castlike_FLOAT4E2M1_to_FLOAT16_expanded test_castlike_FLOAT4E2M1_to_FLOAT_expanded
        test_castlike_FLOAT_to_FLOAT4E2M1 test_castlike_FLOAT_to_FLOAT4E2M1_expanded test_dequantizelinear_float4e2m1
        test_quantizelinear_float4e2m1
        """,
    ),
    Reason(
        "no kernel for bfloat16",
        ortx.NotSupported,
        NO_KERNEL + r"(?:Add|Div|Expand|Mul|Pad)\(",
        """
        test_attention_3d_causal_bf16 test_attention_3d_causal_bf16_expanded
        test_attention_4d_attn_mask_causal_bf16_expanded test_attention_4d_causal_bf16
        test_attention_4d_causal_bf16_expanded test_attention_4d_causal_padded_kv_bf16_expanded
        test_attention_4d_padded_kv_bf16_expanded test_celu_bfloat16_expanded
        """,
    ),
    Reason(
        "no kernel for 16-bit integers",
        ortx.NotSupported,
        NO_KERNEL + r"(?:BitShift|Max|Min)\(",
        """
        test_bitshift_left_uint16 test_bitshift_right_uint16 test_max_int16 test_max_uint16 test_min_int16
        test_min_uint16
        """,
    ),
    Reason(
        "no kernel for unsigned integers of 32 or 64 bits",
        ortx.NotSupported,
        NO_KERNEL + r"(?:Pow|TopK)\(",
        """
        test_pow_types_float32_uint32 test_pow_types_float32_uint64 test_top_k_uint64
        """,
    ),
    Reason(
        "no kernel: the CPU provider lacks the operator, or its newest version",
        ortx.NotSupported,
        NO_KERNEL + r"(?:BitCast|ImageDecoder|RandomUniformLike|RoiAlign|Swish)\(",
        """
        test_bernoulli test_bernoulli_double test_bernoulli_double_expanded test_bernoulli_expanded
        test_bernoulli_seed test_bernoulli_seed_expanded test_bitcast_bool_to_uint8 test_image_decoder_decode_bmp_rgb
        test_image_decoder_decode_jpeg2k_rgb test_image_decoder_decode_jpeg_bgr
        test_image_decoder_decode_jpeg_grayscale test_image_decoder_decode_jpeg_rgb test_image_decoder_decode_png_rgb
        test_image_decoder_decode_pnm_rgb test_image_decoder_decode_tiff_rgb test_image_decoder_decode_webp_rgb
        test_roialign_aligned_false test_roialign_aligned_true test_roialign_mode_max test_swiglu_alpha_expanded
        test_swiglu_expanded test_swiglu_float16_expanded
        """,
    ),
    Reason(
        "no such operator: ORT does not know the preview domains",
        ortx.Fail,
        r"ai\.onnx\.preview(?:\.training)?:\w+\(-1\) is not a registered function/op",
        """
        test_adagrad test_adagrad_multiple test_adam test_adam_multiple test_flexattention
        test_flexattention_causal_mask test_flexattention_diff_head_sizes test_flexattention_double
        test_flexattention_fp16 test_flexattention_gqa test_flexattention_prob_mod
        test_flexattention_relative_positional test_flexattention_scaled test_flexattention_score_mod
        test_flexattention_soft_cap test_gradient_of_add test_gradient_of_add_and_mul test_momentum
        test_momentum_multiple test_nesterov_momentum
        """,
    ),
    Reason(
        "no such operator before opset 28",
        ortx.InvalidGraph,
        r"No Op registered for SwiGLU with domain_version of 27",
        """
        test_swiglu test_swiglu_alpha test_swiglu_float16
        """,
    ),
    Reason(
        "no such attribute before opset 28",
        ortx.InvalidGraph,
        r"Unrecognized attribute: mode for operator SpaceToDepth",
        """
        test_spacetodepth_crd_mode_example test_spacetodepth_dcr_mode_example
        """,
    ),
    Reason(
        "no such element type before opset 28",
        ortx.InvalidGraph,
        r"of operator \((?:BitShift|Celu|Compress|Einsum|OneHot|ReverseSequence|Unique)\) in node \(\) is invalid",
        """
        test_bitshift_left_int16 test_bitshift_left_int32 test_bitshift_left_int32_negative_shift
        test_bitshift_left_int32_overflow test_bitshift_left_int32_shift_ge_width test_bitshift_left_int64
        test_bitshift_left_int8 test_bitshift_left_int8_negative_shift test_bitshift_left_int8_overflow
        test_bitshift_left_int8_shift_ge_width test_bitshift_right_int16 test_bitshift_right_int32
        test_bitshift_right_int32_negative_input test_bitshift_right_int32_negative_shift
        test_bitshift_right_int32_shift_ge_width test_bitshift_right_int64 test_bitshift_right_int8
        test_bitshift_right_int8_negative_input test_bitshift_right_int8_negative_shift
        test_bitshift_right_int8_shift_ge_width test_celu_bfloat16 test_celu_float16 test_compress_bfloat16
        test_einsum_batch_matmul_bfloat16 test_einsum_sum_bfloat16 test_einsum_transpose_bfloat16
        test_onehot_with_bfloat16_values test_reversesequence_bfloat16 test_unique_bfloat16_sorted_without_axis
        """,
    ),
    Reason(
        "no such attribute in ORT's definition of the operator, which is older: sliding windows",
        ortx.InvalidGraph,
        r"Unrecognized attribute: (?:left|right)_window_size for operator Attention",
        """
        test_attention_3d_local_window test_attention_bidirectional_window test_attention_local_window
        test_attention_local_window_default test_attention_local_window_ext_cache_float16_mask
        test_attention_local_window_ext_cache_rank2_mask test_attention_local_window_ext_cache_rank3_head_mask
        test_attention_local_window_ext_cache_rank4_batch_mask test_attention_local_window_gqa_rank4_mask
        test_attention_local_window_rank1_boolean_mask test_attention_local_window_with_past
        """,
    ),
    Reason(
        "wrong types in the function body that ORT expands the operator into",
        ortx.Fail,
        r"Type parameter \(T\) of Optype \(Add\) bound to different types \(tensor\(bfloat16\) and tensor\(float\)",
        """
        test_attention_4d_attn_mask_causal_bf16 test_attention_4d_causal_padded_kv_bf16
        test_attention_4d_padded_kv_bf16
        """,
    ),
    Reason(
        "no locale en_US.UTF-8 on this machine, which the operator takes by default",
        ortx.Fail,
        r"Failed to construct locale with name:en_US\.UTF-8",
        """
        test_strnorm_model_monday_casesensintive_lower test_strnorm_model_monday_casesensintive_upper
        test_strnorm_model_monday_empty_output test_strnorm_model_monday_insensintive_upper_twodim
        test_strnormalizer_export_monday_casesensintive_lower test_strnormalizer_export_monday_casesensintive_upper
        test_strnormalizer_export_monday_empty_output test_strnormalizer_export_monday_insensintive_upper_twodim
        """,
        is_locale=True,
    ),
    Reason(
        "not implemented: recurrent operators with the batch in front",
        ortx.Fail,
        r"Batchwise recurrent operations \(layout == 1\) are not supported",
        """
        test_gru_batchwise test_lstm_batchwise test_simple_rnn_batchwise
        """,
    ),
    Reason(
        "not implemented: Mod of floating-point numbers other than C's fmod",
        ortx.Fail,
        r"fmod (?:attribute )?must be true for floating point",
        """
        test_mod_float16_mixed_sign_fmod_0 test_mod_float32_mixed_sign_fmod_0 test_mod_float64_mixed_sign_fmod_0
        test_mod_float_edge_cases_fmod_0_float16 test_mod_float_edge_cases_fmod_0_float32
        test_mod_float_edge_cases_fmod_0_float64
        """,
    ),
    Reason(
        "not implemented: zero points per channel",
        ortx.Fail,
        r"Non per-tensor quantization is not supported now",
        """
        test_convinteger_with_padding
        """,
    ),
    Reason(
        "not implemented: an attention mask that is shorter than the keys",
        ortx.Fail,
        r"inconsistent total_sequence_length \(between attn_mask and past_key and past_value\)",
        """
        test_attention_4d_diff_heads_mask4d_padded_kv
        """,
    ),
    Reason(
        "not implemented: the maximum of no booleans",
        ortx.RuntimeException,
        r"ReduceMax is not defined for empty set with bool type",
        """
        test_reduce_max_empty_set_bool
        """,
    ),
    Reason(
        "computes something else: what the mask leaves out has the lowest float, not -inf",
        AssertionError,
        r"inf location mismatch",
        """
        test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal
        test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal
        """,
    ),
    Reason(
        "computes something else: rounded otherwise; the expected values come from float64",
        AssertionError,
        r"Mismatched elements",
        """
        test_dft test_dft_axis test_dft_axis_opset19 test_dft_inverse test_dft_inverse_opset19 test_dft_irfft
        test_dft_irfft_opset19 test_dft_opset19 test_dft_rfft test_dft_rfft_opset19 test_stft test_stft_with_window
        """,
        close_enough=(1e-3, 5e-4),
    ),
    Reason(
        "computes something else: random numbers of its own",
        AssertionError,
        r"Mismatched elements",
        """
        test_training_dropout test_training_dropout_default test_training_dropout_default_mask
        test_training_dropout_mask
        """,
    ),
    Reason(
        "computes something else: reads this attribute or input in its own way",
        AssertionError,
        r"Mismatched elements",
        """
        test_maxunpool_export_with_output_shape test_resize_downsample_scales_cubic_align_corners
        test_resize_downsample_scales_linear_align_corners
        """,
    ),
]
