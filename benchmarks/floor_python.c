/* The least that Python can do: one of its loops calls a function of C's, which calls ONNX Runtime and looks at nothing
 * that it is given. What this takes longer than the floor is Python's own and numpy's, and no binding's to save.
 *
 * The GIL stays with the caller. `self` is the floor's address, and the floor has to be open.
 *
 * SPDX-License-Identifier: MIT
 */
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include "floor.h"

static PyObject* raised(const Floor* floor, OrtStatus* status) {
  PyErr_SetString(PyExc_RuntimeError, floor->api->GetErrorMessage(status));
  floor->api->ReleaseStatus(status);
  return NULL;
}

static PyObject* run_with_binding(PyObject* self, PyObject* unused) {
  const Floor* floor = PyLong_AsVoidPtr(self);
  (void)unused;
  OrtStatus* status = floor->api->RunWithBinding(floor->session, floor->run_options, floor->binding);
  if (status != NULL) return raised(floor, status);
  Py_RETURN_NONE;
}

/* Make values over the memory of arrays, which are as the floor's slots say. */
static OrtStatus* values_over(const Floor* floor, const Slot* slots, size_t count, PyObject** arrays,
                              OrtValue** values) {
  OrtStatus* status = NULL;
  for (size_t i = 0; i < count; i++) values[i] = NULL;
  for (size_t i = 0; status == NULL && i < count; i++)
    status = floor->api->CreateTensorWithDataAsOrtValue(
        floor->memory, PyArray_DATA((PyArrayObject*)arrays[i]), slots[i].size, slots[i].shape, slots[i].rank,
        (ONNXTensorElementDataType)slots[i].type, &values[i]);
  return status;
}

static OrtStatus* run_over(const Floor* floor, PyObject** inputs, PyObject** outputs) {
  OrtValue **input_values = floor->scratch.inputs, **output_values = floor->scratch.outputs;
  for (size_t i = 0; i < floor->output_count; i++) output_values[i] = NULL;
  OrtStatus* status = values_over(floor, floor->inputs, floor->input_count, inputs, input_values);
  if (status == NULL) status = values_over(floor, floor->outputs, floor->output_count, outputs, output_values);
  if (status == NULL)
    status = floor->api->Run(floor->session, floor->run_options, floor->input_names,
                             (const OrtValue* const*)input_values, floor->input_count, floor->output_names,
                             floor->output_count, output_values);
  release_values(floor, output_values, floor->output_count);
  release_values(floor, input_values, floor->input_count);
  return status;
}

/* Given a list of the inputs, return a tuple of new arrays. */
static PyObject* run(PyObject* self, PyObject* inputs) {
  const Floor* floor = PyLong_AsVoidPtr(self);
  PyObject* outputs = PyTuple_New((Py_ssize_t)floor->output_count);
  if (outputs == NULL) return NULL;
  for (size_t i = 0; i < floor->output_count; i++) {
    const Slot* slot = &floor->outputs[i];
    PyObject* array = PyArray_SimpleNew((int)slot->rank, (const npy_intp*)slot->shape, NPY_FLOAT);
    if (array == NULL) {
      Py_DECREF(outputs);
      return NULL;
    }
    PyTuple_SET_ITEM(outputs, (Py_ssize_t)i, array);
  }
  OrtStatus* status = run_over(floor, ((PyListObject*)inputs)->ob_item, ((PyTupleObject*)outputs)->ob_item);
  if (status == NULL) return outputs;
  Py_DECREF(outputs);
  return raised(floor, status);
}

/* Given a list of the inputs and one of the outputs. */
static PyObject* run_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  const Floor* floor = PyLong_AsVoidPtr(self);
  (void)count;
  OrtStatus* status =
      run_over(floor, ((PyListObject*)arguments[0])->ob_item, ((PyListObject*)arguments[1])->ob_item);
  if (status != NULL) return raised(floor, status);
  Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"run", run, METH_O, NULL},
    {"run_into", (PyCFunction)(void (*)(void))run_into, METH_FASTCALL, NULL},
    {"run_with_binding", run_with_binding, METH_NOARGS, NULL},
};

/* Return a dictionary of the functions, which may be called for as long as the floor is open. All its values are to be
 * tensors, and all outputs of float32. */
PyObject* floor_python_functions(Floor* floor) {
  import_array();
  PyObject *self = PyLong_FromVoidPtr(floor), *made = PyDict_New();
  for (size_t i = 0; made != NULL && self != NULL && i < sizeof functions / sizeof *functions; i++) {
    PyObject* function = PyCFunction_New(&functions[i], self);
    if (function == NULL || PyDict_SetItemString(made, functions[i].ml_name, function) < 0) Py_CLEAR(made);
    Py_XDECREF(function);
  }
  if (self == NULL) Py_CLEAR(made);
  Py_XDECREF(self);
  return made;
}
