package app.palmtop.demo

import android.app.Activity
import android.view.View

/** The view of this id, as the layout has it; written so that it compiles against the platform of any year (it is generic since API 26). */
@Suppress("UNCHECKED_CAST") // the layout says which class it is
fun <V : View> Activity.view(id: Int): V = findViewById(id) as V

/** The view of this id inside another. */
@Suppress("UNCHECKED_CAST") // the layout says which class it is
fun <V : View> View.view(id: Int): V = findViewById(id) as V
