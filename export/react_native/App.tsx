// A whole app around one model: the screen that answers as you type.
import AsyncStorage from '@react-native-async-storage/async-storage';
import { StyleSheet, View } from 'react-native';
import { bundled } from './model';
import { AnswerScreen } from './palmtop/AnswerScreen';

const KEY = 'palmtop: golden answers passed';

const memory = {
  read: () => AsyncStorage.getItem(KEY),
  write: (line: string) => AsyncStorage.setItem(KEY, line),
};

export default function App() {
  return (
    <View style={styles.app}>
      <AnswerScreen bundled={bundled} memory={memory} />
    </View>
  );
}

const styles = StyleSheet.create({ app: { flex: 1, paddingTop: 48 } }); // below the status bar
