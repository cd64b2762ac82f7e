/* The least that Python can do: one of its loops calls a function of C's, which calls ONNX Runtime and does nothing
 * else. What this takes longer than the floor is Python's own, and no binding's to save.
 *
 * SPDX-License-Identifier: MIT
 */
#include <Python.h>

#include "floor.h"

/* `self` is the floor's address. The GIL stays with the caller. */
static PyObject* run_with_binding(PyObject* self, PyObject* unused) {
  const Floor* floor = PyLong_AsVoidPtr(self);
  (void)unused;
  OrtStatus* status = floor->api->RunWithBinding(floor->session, floor->run_options, floor->binding);
  if (status == NULL) Py_RETURN_NONE;
  PyErr_SetString(PyExc_RuntimeError, floor->api->GetErrorMessage(status));
  floor->api->ReleaseStatus(status);
  return NULL;
}

static PyMethodDef run_with_binding_method = {"run_with_binding", run_with_binding, METH_NOARGS, NULL};

/* Return the function for Python, which may be called for as long as the floor is open. */
PyObject* floor_python_function(Floor* floor) {
  PyObject* self = PyLong_FromVoidPtr(floor);
  if (self == NULL) return NULL;
  PyObject* function = PyCFunction_New(&run_with_binding_method, self);
  Py_DECREF(self);
  return function;
}
