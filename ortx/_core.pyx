# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=python
# cython: allow_none_for_extension_args=False, auto_pickle=False, autotestdict=False
# cython: annotation_typing=False, cdivision=True, wraparound=False, boundscheck=False
# cython: initializedcheck=False
#
# What is public has `binding`: its signature can be asked for. Each such function takes every process 1 us.
"""The compiled core: the one owner of every native handle.

This file is the map. The parts are included in order; a part may use those above it, never those below.
"""

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_FromDouble
from cpython.list cimport PyList_CheckExact
from cpython.object cimport PyObject, PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName
from cpython.pythread cimport (
    NOWAIT_LOCK, PY_LOCK_ACQUIRED, PY_LOCK_INTR, PyLockStatus, PyThread_acquire_lock, PyThread_allocate_lock,
    PyThread_free_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK)
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_FromObject
from libc.limits cimport INT_MAX
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen

from ortx.capi cimport *

import _signal  # of which `signal` makes enumerations, which takes time
import _thread  # of which `threading` makes classes, which takes longer
import atexit
import copyreg
import ctypes
import errno
import importlib
import importlib.util
import math
import operator
import os
import pickle
import re
import reprlib
import stat
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy

# The leaves are imported where they are first needed: together they cost more than all else in `import ortx`.

cnp.import_array()

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char* memory, Py_ssize_t size, int flags)
    # Borrowed references, which Cython's own declarations do not give.
    PyObject* PySequence_Fast_GET_ITEM(object sequence, Py_ssize_t index)
    Py_ssize_t PySequence_Fast_GET_SIZE(object sequence)
    PyObject* PyTuple_GET_ITEM(object sequence, Py_ssize_t index)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArray_Descr:
        pass
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(
        PyTypeObject* type, PyArray_Descr* dtype, int rank, const cnp.npy_intp* shape, const cnp.npy_intp* strides, void* data,
        int flags, PyObject* source)  # takes the reference to `dtype` over

include "_core.src/errorclass.pxi" # how the classes of errors are made
include "_core.src/errors.pxi"    # the exceptions, and what messages say of a value
include "_core.src/tables.pxi"    # option tables: their fields and readers
include "_core.src/seal.pxi"      # classes that only ortx itself makes
include "_core.src/api.pxi"       # what all parts share: the function table, its version, the count of handles
include "_core.src/status.pxi"    # check(): the one door for OrtStatus
include "_core.src/forked.pxi"    # fork: waits for what is half made; in the child nothing of the parent's is used
include "_core.src/threads.pxi"   # threads that the system may refuse to start
include "_core.src/heap.pxi"      # trim_memory(): what is free goes back to the system
include "_core.src/text.pxi"      # names and paths, from Python to C and back
include "_core.src/search.pxi"    # where the shared library is, and how it is opened
include "_core.src/library.pxi"   # load_library(): from a shared library to the function table
include "_core.src/logging.pxi"   # ORT's messages, from any thread to logging.getLogger("ortx")
include "_core.src/env.pxi"       # OrtEnv: configure(), made once, never released
include "_core.src/terminated.pxi" # which run options their user has terminated
include "_core.src/interrupt.pxi" # Ctrl-C in a run of the main thread
include "_core.src/dtype.pxi"     # element types: ORT's, ONNX's and numpy's words for them
include "_core.src/zipmap.pxi"    # the dictionaries that end a classifier, made of the tensor behind them
include "_core.src/typeinfo.pxi"  # OrtTypeInfo: ValueInfo and Signature, what a model takes and gives
include "_core.src/strings.pxi"   # strings: ORT's objects, and Python's
include "_core.src/elements.pxi"  # elements smaller than a byte: copied, one form into the other
include "_core.src/value.pxi"     # OrtValue: over a caller's buffer, or under a numpy array
include "_core.src/sparse.pxi"    # OrtValue: sparse tensors
include "_core.src/container.pxi" # OrtValue: sequences and maps
include "_core.src/dlpack.pxi"    # DLPack: memory of other libraries, and ours for them
include "_core.src/optional.pxi"  # ortx.Optional: a value that may be missing
include "_core.src/admit.pxi"     # any Python object -> an array that fits an input, or the reason why not
include "_core.src/memory.pxi"    # OrtMemoryInfo: where memory is
include "_core.src/tensor.pxi"    # ortx.Tensor: an array that can be bound
include "_core.src/feed.pxi"      # any Python object -> what an input of any type takes
include "_core.src/options.pxi"   # OrtSessionOptions
include "_core.src/providers.pxi" # execution providers: appending them to the options
include "_core.src/customop.pxi"  # custom-op libraries: loading them, and registering them in the options
include "_core.src/weights.pxi"   # prepacked weights and shared initializers
include "_core.src/externaldata.pxi" # files with weights that are in memory
include "_core.src/outputs.pxi"   # what a call returns
include "_core.src/modelinfo.pxi" # OrtModelMetadata, and OrtMemoryInfo of inputs and outputs
include "_core.src/frame.pxi"     # the C side of one call: its names and values, and the run itself
include "_core.src/marshal.pxi"   # one call: from Python's values to a frame, and back
include "_core.src/clock.pxi"     # the clock that runs are timed with
include "_core.src/serial.pxi"    # one run at a time, for providers that cannot do more
include "_core.src/walk.pxi"      # the way through a model's messages, to what few models have
include "_core.src/predict.pxi"   # what a model's operators tell of its runs
include "_core.src/pace.pxi"      # how long runs take, and which of them keep the GIL
include "_core.src/ineffect.pxi"     # a session's table of options: while it is opened, and in effect
include "_core.src/native.pxi"    # OrtSession: made of a model and options, and made anew
include "_core.src/workers.pxi"   # the queue of a session's runs, and the threads that run them
include "_core.src/stats.pxi"     # Session.stats(): what a session has done; and the run that is counted
include "_core.src/deadlines.pxi" # the thread that stops runs whose time is over
include "_core.src/runoptions.pxi" # OrtRunOptions, and what `terminate` stops
include "_core.src/runs.pxi"      # a run with all that it needs: begun, received, put away
include "_core.src/async.pxi"     # submitted and awaited runs: futures, event loops, the end of the process
include "_core.src/blocking.pxi"  # calls with a timeout
include "_core.src/binding.pxi"   # OrtIoBinding: bound once, run often
include "_core.src/session.pxi"   # ortx.Session: run, look at, close
include "_core.src/open.pxi"      # session(), session_from_bytes()
include "_core.src/recipe.pxi"    # copy and pickle: a session is what it was made of

# Without this, `Session.__new__(Session)` would make an object whose handle is NULL.
for private_constructor in (
        BorrowedMemory, Candidate, CustomOpLibrary, Feed, IOBinding, LoopCall, LoopInbox, ModelBuffer,
        NativeSession, Optional, OptionTexts,
        Outputs, PendingRun, RunOptions, Session, Signature, Tensor, TypeFacts, Value):
    hide_new(private_constructor)
del private_constructor
